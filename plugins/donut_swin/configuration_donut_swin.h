#pragma once

#include "../swin/configuration_swin.h"

namespace backplane::donut_swin {

struct DonutSwinConfig : swin::SwinEncoderConfig {
  static constexpr const char* model_type = "donut-swin";
};

}  // namespace backplane::donut_swin
