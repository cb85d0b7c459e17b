#pragma once

#include "../dinov2/configuration_dinov2.h"

namespace backplane::dinov2_with_registers {

struct Dinov2WithRegistersConfig : dinov2::Dinov2EncoderConfig {
  static constexpr const char* model_type = "dinov2_with_registers";

  int64_t num_register_tokens = 4;

  Dinov2WithRegistersConfig() { patch_size = 16; }

  void fields(FieldVisitor& field) override {
    Dinov2EncoderConfig::fields(field);
    field(BACKPLANE_FIELD(num_register_tokens));
  }
};

}  // namespace backplane::dinov2_with_registers
