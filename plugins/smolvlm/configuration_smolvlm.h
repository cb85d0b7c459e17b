#pragma once

#include "../idefics3/configuration_idefics3.h"

namespace backplane::smolvlm {

struct SmolVLMVisionConfig : idefics3::Idefics3VisionConfig {
  static constexpr const char* model_type = "smolvlm_vision";
};

struct SmolVLMConfig : idefics3::Idefics3ConfigOf<SmolVLMVisionConfig> {
  static constexpr const char* model_type = "smolvlm";
};

}  // namespace backplane::smolvlm
