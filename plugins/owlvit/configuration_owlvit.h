#pragma once

#include "../clip/configuration_clip.h"

namespace backplane::owlvit {

struct OwlViTTextConfig : clip::TextTowerConfig {
  static constexpr const char* model_type = "owlvit_text_model";

  OwlViTTextConfig() {
    max_position_embeddings = 16;
    pad_token_id = 0;
  }
};

struct OwlViTVisionConfig : clip::VisionTowerConfig {
  static constexpr const char* model_type = "owlvit_vision_model";

  OwlViTVisionConfig() { image_size = 768; }
};

struct OwlViTConfig : clip::ProjectedConfig<OwlViTTextConfig, OwlViTVisionConfig> {
  static constexpr const char* model_type = "owlvit";

  void validate() override {}
};

}  // namespace backplane::owlvit
