#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::deit {

struct DeiTConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "deit";

  int64_t encoder_stride = 16;
  std::optional<int64_t> pooler_output_size;  // null: hidden_size
  std::string pooler_act = "tanh";

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(encoder_stride));
    field(BACKPLANE_FIELD(pooler_output_size));
    field(BACKPLANE_FIELD(pooler_act));
  }

  void validate() override {
    ViTImageConfig::validate();
    if (!pooler_output_size || *pooler_output_size == 0) pooler_output_size = hidden_size;
  }
};

}  // namespace backplane::deit
