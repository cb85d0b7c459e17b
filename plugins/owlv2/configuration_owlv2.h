#pragma once

#include "../owlvit/configuration_owlvit.h"

namespace backplane::owlv2 {

struct Owlv2TextConfig : owlvit::OwlViTTextConfig {
  static constexpr const char* model_type = "owlv2_text_model";
};

struct Owlv2VisionConfig : owlvit::OwlViTVisionConfig {
  static constexpr const char* model_type = "owlv2_vision_model";

  Owlv2VisionConfig() { patch_size = 16; }
};

struct Owlv2Config : clip::ProjectedConfig<Owlv2TextConfig, Owlv2VisionConfig> {
  static constexpr const char* model_type = "owlv2";

  void validate() override {}
};

}  // namespace backplane::owlv2
