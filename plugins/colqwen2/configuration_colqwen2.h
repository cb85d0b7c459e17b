#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::colqwen2 {

struct ColQwen2Config : PretrainedConfig {
  static constexpr const char* model_type = "colqwen2";

  std::shared_ptr<PretrainedConfig> vlm_config;
  int64_t embedding_dim = 128;
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vlm_config), "qwen2_vl");
    field(BACKPLANE_FIELD(embedding_dim));
    field(BACKPLANE_FIELD(initializer_range));
  }

  void validate() override {
    if (!vlm_config || !vlm_config->part("text_config"))
      throw Error(ErrorCode::bad_config, "vlm_config has no text_config; expected a vision-language model's");
  }
};

}  // namespace backplane::colqwen2
