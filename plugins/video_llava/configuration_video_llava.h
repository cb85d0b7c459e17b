#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::video_llava {

struct VideoLlavaConfig : llava::VisionTextConfig {
  static constexpr const char* model_type = "video_llava";

  int64_t video_token_index = 32001;
  std::string projector_hidden_act = "gelu";
  std::string vision_feature_select_strategy = "default";
  Value vision_feature_layer = -2;
  int64_t image_seq_length = 256;
  int64_t video_seq_length = 2056;
  bool multimodal_projector_bias = true;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "clip_vision_model", "llama");
    field(BACKPLANE_FIELD(video_token_index));
    field.alias("video_token_id", "video_token_index");
    field(BACKPLANE_FIELD(projector_hidden_act));
    field(BACKPLANE_FIELD(vision_feature_select_strategy));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(image_seq_length));
    field(BACKPLANE_FIELD(video_seq_length));
    field(BACKPLANE_FIELD(multimodal_projector_bias));
  }
};

}  // namespace backplane::video_llava
