#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::colpali {

struct ColPaliConfig : PretrainedConfig {
  static constexpr const char* model_type = "colpali";

  std::shared_ptr<PretrainedConfig> vlm_config, text_config;
  int64_t embedding_dim = 128;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vlm_config), "paligemma");
    field(BACKPLANE_FIELD(text_config));
    field(BACKPLANE_FIELD(embedding_dim));
  }

  void validate() override {
    if (!vlm_config || !vlm_config->part("text_config"))
      throw Error(ErrorCode::bad_config, "vlm_config has no text_config; expected a vision-language model's");
    if (!text_config) text_config = vlm_config->clone_part("text_config");
  }
};

}  // namespace backplane::colpali
