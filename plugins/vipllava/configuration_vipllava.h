#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::vipllava {

struct VipLlavaConfig : llava::VisionTextConfig {
  static constexpr const char* model_type = "vipllava";

  std::string projector_hidden_act = "gelu";
  double projector_layernorm_eps = 1e-5;
  Value vision_feature_layers = Value::List{-2, -5, -8, -11, 6};  // or a number
  int64_t image_seq_length = 576;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "clip_vision_model", "llama");
    field(BACKPLANE_FIELD(projector_hidden_act));
    field(BACKPLANE_FIELD(projector_layernorm_eps));
    field(BACKPLANE_FIELD(vision_feature_layers));
    field(BACKPLANE_FIELD(image_seq_length));
  }
};

}  // namespace backplane::vipllava
