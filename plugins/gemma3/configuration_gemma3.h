#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::gemma3 {

struct Gemma3Config : llava::VisionTextConfig {
  static constexpr const char* model_type = "gemma3";

  int64_t mm_tokens_per_image = 256;
  int64_t boi_token_index = 255999;
  int64_t eoi_token_index = 256000;
  double initializer_range = 0.02;

  Gemma3Config() { image_token_index = 262144; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "siglip_vision_model", "gemma3_text");
    field(BACKPLANE_FIELD(mm_tokens_per_image));
    field(BACKPLANE_FIELD(boi_token_index));
    field.alias("boi_token_id", "boi_token_index");
    field(BACKPLANE_FIELD(eoi_token_index));
    field.alias("eoi_token_id", "eoi_token_index");
    field(BACKPLANE_FIELD(initializer_range));
  }
};

}  // namespace backplane::gemma3
