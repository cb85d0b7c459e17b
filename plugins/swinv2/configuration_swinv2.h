#pragma once

#include "../swin/configuration_swin.h"

namespace backplane::swinv2 {

struct Swinv2Config : swin::SwinEncoderConfig {
  static constexpr const char* model_type = "swinv2";

  std::vector<int64_t> pretrained_window_sizes = {0, 0, 0, 0};
  int64_t encoder_stride = 32;

  void fields(FieldVisitor& field) override {
    SwinEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(pretrained_window_sizes));
    field(BACKPLANE_FIELD(encoder_stride));
    backbone_fields(field);
  }

  void validate() override {
    SwinEncoderConfig::validate();
    check_stages(depths.size(), {{"pretrained_window_sizes", pretrained_window_sizes.size()}});
  }
};

}  // namespace backplane::swinv2
