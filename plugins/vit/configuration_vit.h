#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::vit {

// The keys that ViT and its kin have in common.
struct ViTEncoderConfig : PretrainedConfig {
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  bool qkv_bias = true;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(qkv_bias));
  }

  void validate() override { check_divides("hidden_size", hidden_size, "num_attention_heads", num_attention_heads); }
};

// ... and those that see images.
struct ViTImageConfig : ViTEncoderConfig {
  Value image_size = 224;  // a number, or [height, width]
  Value patch_size = 16;
  int64_t num_channels = 3;

  void fields(FieldVisitor& field) override {
    ViTEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
  }
};

struct ViTConfig : ViTImageConfig {
  static constexpr const char* model_type = "vit";

  int64_t encoder_stride = 16;
  std::optional<int64_t> pooler_output_size;  // null: hidden_size
  std::string pooler_act = "tanh";

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(encoder_stride));
    field(BACKPLANE_FIELD(pooler_output_size));
    field(BACKPLANE_FIELD(pooler_act));
  }

  void validate() override {
    ViTImageConfig::validate();
    if (!pooler_output_size || *pooler_output_size == 0) pooler_output_size = hidden_size;
  }
};

}  // namespace backplane::vit
