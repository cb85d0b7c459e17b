#pragma once

#include "../swin/configuration_swin.h"

namespace backplane::maskformer_swin {

struct MaskFormerSwinConfig : swin::SwinEncoderConfig {
  static constexpr const char* model_type = "maskformer-swin";

  void fields(FieldVisitor& field) override {
    SwinEncoderConfig::fields(field);
    backbone_fields(field);
  }
};

}  // namespace backplane::maskformer_swin
