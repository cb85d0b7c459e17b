#pragma once

#include "../clip/configuration_clip.h"

namespace backplane::siglip {

struct SiglipTextConfig : PretrainedConfig {
  static constexpr const char* model_type = "siglip_text_model";

  int64_t vocab_size = 32000;
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t max_position_embeddings = 64;
  double layer_norm_eps = 1e-6;
  std::string hidden_act = "gelu_pytorch_tanh";
  double attention_dropout = 0;
  std::optional<int64_t> projection_size;  // null: hidden_size

  SiglipTextConfig() {
    pad_token_id = 1;
    bos_token_id = 49406;
    eos_token_id = 49407;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(projection_size));
  }

  void validate() override {
    if (!projection_size) projection_size = hidden_size;
  }
};

struct SiglipVisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "siglip_vision_model";

  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t patch_size = 16;
  int64_t image_size = 224;
  double attention_dropout = 0;
  double layer_norm_eps = 1e-6;
  std::string hidden_act = "gelu_pytorch_tanh";

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
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_act));
  }
};

struct SiglipConfig : clip::DualConfig<SiglipTextConfig, SiglipVisionConfig> {
  static constexpr const char* model_type = "siglip";

  double initializer_factor = 1;

  void fields(FieldVisitor& field) override {
    DualConfig::fields(field);
    field(BACKPLANE_FIELD(initializer_factor));
  }

  void validate() override {}
};

}  // namespace backplane::siglip
