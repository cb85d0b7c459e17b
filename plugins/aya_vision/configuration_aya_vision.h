#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::aya_vision {

struct AyaVisionConfig : llava::VisionTextConfig {
  static constexpr const char* model_type = "aya_vision";

  std::string vision_feature_select_strategy = "full";
  Value vision_feature_layer = -1;
  int64_t downsample_factor = 2;
  double adapter_layer_norm_eps = 1e-6;

  AyaVisionConfig() { image_token_index = 255036; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "siglip_vision_model", "cohere2");
    field(BACKPLANE_FIELD(downsample_factor));
    field(BACKPLANE_FIELD(adapter_layer_norm_eps));
    field(BACKPLANE_FIELD(vision_feature_select_strategy));
    field(BACKPLANE_FIELD(vision_feature_layer));
  }

  void validate() override {
    VisionTextConfig::validate();
    llava::check_strategy(vision_feature_select_strategy);
    if (downsample_factor <= 0)
      throw Error(ErrorCode::bad_config, concat("downsample_factor is ", downsample_factor, "; expected 1 or more"));
  }
};

}  // namespace backplane::aya_vision
