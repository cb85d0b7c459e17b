#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::vit_msn {

struct ViTMSNConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "vit_msn";
  ViTMSNConfig() { layer_norm_eps = 1e-6; }
};

}  // namespace backplane::vit_msn
