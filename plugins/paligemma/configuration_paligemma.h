#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::paligemma {

struct PaliGemmaConfig : llava::VisionTextConfig {
  static constexpr const char* model_type = "paligemma";

  int64_t projection_dim = 2048;
  int64_t hidden_size = 2048;

  PaliGemmaConfig() { image_token_index = 256000; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    parts(field, "siglip_vision_model", "gemma");
    field(BACKPLANE_FIELD(projection_dim));
    field(BACKPLANE_FIELD(hidden_size));
  }

  // Keys that the reference adds to its parts.
  void validate() override {
    VisionTextConfig::validate();
    const int64_t patch = int_field(*vision_config, "patch_size");
    if (patch <= 0) throw Error(ErrorCode::bad_config, concat("vision_config: patch_size is ", patch));
    const int64_t side = int_field(*vision_config, "image_size") / patch;
    set(text_config->extra, "num_image_tokens", side * side);
    set(vision_config->extra, "projection_dim", projection_dim);
  }
};

}  // namespace backplane::paligemma
