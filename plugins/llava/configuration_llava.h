#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::llava {

// A vision tower and a language model of any type.
struct VisionTextConfig : PretrainedConfig {
  std::shared_ptr<PretrainedConfig> vision_config, text_config;
  int64_t image_token_index = 32000;

  void parts(FieldVisitor& field, const char* vision_type, const char* text_type) {
    field(BACKPLANE_FIELD(vision_config), vision_type);
    field(BACKPLANE_FIELD(text_config), text_type);
    field(BACKPLANE_FIELD(image_token_index));
    field.alias("image_token_id", "image_token_index");
  }

  void validate() override {
    if (!vision_config || !text_config)
      throw Error(ErrorCode::bad_config, "vision_config and text_config are needed, and one is null");
  }
};

inline void check_strategy(const std::string& strategy) {
  if (strategy == "default" || strategy == "full") return;
  throw Error(ErrorCode::bad_config,
              concat("vision_feature_select_strategy is '", strategy, "'; expected 'default' or 'full'"));
}

struct LlavaConfig : VisionTextConfig {
  static constexpr const char* model_type = "llava";

  std::string projector_hidden_act = "gelu";
  std::string vision_feature_select_strategy = "default";  // or "full"
  Value vision_feature_layer = -2;                         // a number or a list
  int64_t image_seq_length = 576;
  bool multimodal_projector_bias = true;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "clip_vision_model", "llama");
    field(BACKPLANE_FIELD(projector_hidden_act));
    field(BACKPLANE_FIELD(vision_feature_select_strategy));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(image_seq_length));
    field(BACKPLANE_FIELD(multimodal_projector_bias));
  }

  void validate() override {
    VisionTextConfig::validate();
    check_strategy(vision_feature_select_strategy);
  }
};

}  // namespace backplane::llava
