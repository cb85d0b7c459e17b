#pragma once

#include "../siglip/configuration_siglip.h"

namespace backplane::siglip2 {

struct Siglip2TextConfig : siglip::SiglipTextConfig {
  static constexpr const char* model_type = "siglip2_text_model";
};

struct Siglip2VisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "siglip2_vision_model";

  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t patch_size = 16;
  double attention_dropout = 0;
  double layer_norm_eps = 1e-6;
  std::string hidden_act = "gelu_pytorch_tanh";
  int64_t num_patches = 256;

  // A key that some files have.
  bool use_head() const {
    const Value* found = find_extra("vision_use_head");
    return !found || found->as_bool();
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(num_patches));
  }
};

struct Siglip2Config : clip::DualConfig<Siglip2TextConfig, Siglip2VisionConfig> {
  static constexpr const char* model_type = "siglip2";

  double initializer_factor = 1;

  void fields(FieldVisitor& field) override {
    DualConfig::fields(field);
    field(BACKPLANE_FIELD(initializer_factor));
  }

  void validate() override {}
};

}  // namespace backplane::siglip2
