#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::mistral3 {

struct Mistral3Config : llava::VisionTextConfig {
  static constexpr const char* model_type = "mistral3";

  std::string projector_hidden_act = "gelu";
  Value vision_feature_layer = -1;
  bool multimodal_projector_bias = false;
  int64_t spatial_merge_size = 2;

  Mistral3Config() { image_token_index = 10; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "pixtral", "mistral");
    field(BACKPLANE_FIELD(projector_hidden_act));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(multimodal_projector_bias));
    field(BACKPLANE_FIELD(spatial_merge_size));
  }

  void validate() override {
    VisionTextConfig::validate();
    if (spatial_merge_size <= 0)
      throw Error(ErrorCode::bad_config, concat("spatial_merge_size is ", spatial_merge_size, "; expected 1 or more"));
  }
};

}  // namespace backplane::mistral3
