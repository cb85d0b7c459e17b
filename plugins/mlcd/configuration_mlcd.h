#pragma once

#include "../clip/configuration_clip.h"

namespace backplane::mlcd {

struct MLCDVisionConfig : clip::VisionTowerConfig {
  static constexpr const char* model_type = "mlcd_vision_model";

  int64_t num_key_value_groups = 1;

  MLCDVisionConfig() {
    hidden_size = 1664;
    intermediate_size = 8192;
    num_hidden_layers = 48;
    num_attention_heads = 16;
    image_size = 336;
    patch_size = 14;
    hidden_act = "gelu";
  }

  void fields(FieldVisitor& field) override {
    VisionTowerConfig::fields(field);
    field(BACKPLANE_FIELD(num_key_value_groups));
  }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size % (4 * num_attention_heads) != 0 || patch_size <= 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") has to be a multiple of 4 * num_attention_heads (",
                         num_attention_heads, "), and patch_size (", patch_size, ") above 0"));
    }
  }
};

}  // namespace backplane::mlcd
