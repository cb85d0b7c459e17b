#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::vision_text_dual_encoder {

struct VisionTextDualEncoderConfig : PretrainedConfig {
  static constexpr const char* model_type = "vision-text-dual-encoder";

  std::shared_ptr<PretrainedConfig> vision_config, text_config;
  int64_t projection_dim = 512;
  double logit_scale_init_value = 2.6592;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(text_config));
    field(BACKPLANE_FIELD(projection_dim));
    field(BACKPLANE_FIELD(logit_scale_init_value));
  }

  // Of a model of both, the vision tower.
  void validate() override {
    if (!vision_config || !text_config)
      throw Error(ErrorCode::bad_config, "vision_config and text_config are needed, and one is missing");
    if (auto inside = vision_config->clone_part("vision_config")) vision_config = std::move(inside);
  }
};

}  // namespace backplane::vision_text_dual_encoder
