#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::llava_next {

// Images in tiles: the sizes that a tiled image may have, [height, width] in pixels each.
struct TiledConfig : llava::VisionTextConfig {
  std::string projector_hidden_act = "gelu";
  std::string vision_feature_select_strategy = "default";
  Value vision_feature_layer = -2;
  Value image_grid_pinpoints;
  bool multimodal_projector_bias = true;

  TiledConfig() { tie_word_embeddings = false; }

  void tiles(FieldVisitor& field) {
    field(BACKPLANE_FIELD(projector_hidden_act));
    field(BACKPLANE_FIELD(vision_feature_select_strategy));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(image_grid_pinpoints));
    field(BACKPLANE_FIELD(multimodal_projector_bias));
  }

  void validate() override {
    VisionTextConfig::validate();
    llava::check_strategy(vision_feature_select_strategy);
    if (image_grid_pinpoints.is_null()) image_grid_pinpoints = default_pinpoints();
    if (image_grid_pinpoints.as_list().empty())
      throw Error(ErrorCode::bad_config, "image_grid_pinpoints is empty; expected sizes [height, width]");
    for (const auto& size : image_grid_pinpoints.as_list()) {
      const auto& pair = size.as_list();
      if (pair.size() != 2 || pair[0].as_int() <= 0 || pair[1].as_int() <= 0) {
        throw Error(ErrorCode::bad_config,
                    concat("image_grid_pinpoints has ", size.to_string(), "; expected [height, width] above 0"));
      }
    }
  }

  virtual Value default_pinpoints() const {
    const auto size = [](int height, int width) { return Value(Value::List{height, width}); };
    return Value::List{size(336, 672), size(672, 336), size(672, 672), size(1008, 336), size(336, 1008)};
  }
};

struct LlavaNextConfig : TiledConfig {
  static constexpr const char* model_type = "llava_next";

  int64_t image_seq_length = 576;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "clip_vision_model", "llama");
    tiles(field);
    field(BACKPLANE_FIELD(image_seq_length));
  }
};

}  // namespace backplane::llava_next
