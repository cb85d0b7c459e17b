#pragma once

#include <backplane/model.h>
#include <backplane/model/vision.h>

namespace backplane::dinov2 {

// The keys of DINOv2 with and without registers.
struct Dinov2EncoderConfig : BackboneConfig {
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  double mlp_ratio = 4;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-6;
  Value image_size = 224;  // a number, or [height, width]
  Value patch_size = 14;
  int64_t num_channels = 3;
  bool qkv_bias = true;
  double layerscale_value = 1;
  double drop_path_rate = 0;
  bool use_swiglu_ffn = false;
  bool apply_layernorm = true;
  bool reshape_hidden_states = true;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(mlp_ratio));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(qkv_bias));
    field(BACKPLANE_FIELD(layerscale_value));
    field(BACKPLANE_FIELD(drop_path_rate));
    field(BACKPLANE_FIELD(use_swiglu_ffn));
    field(BACKPLANE_FIELD(apply_layernorm));
    field(BACKPLANE_FIELD(reshape_hidden_states));
    backbone_fields(field);
  }

  void validate() override {
    check_divides("hidden_size", hidden_size, "num_attention_heads", num_attention_heads);
    align_stages("stem", num_hidden_layers);
  }

  std::vector<int64_t> stage_channels() const override { return std::vector<int64_t>(stage_names.size(), hidden_size); }
};

struct Dinov2Config : Dinov2EncoderConfig {
  static constexpr const char* model_type = "dinov2";

  bool use_mask_token = true;

  void fields(FieldVisitor& field) override {
    Dinov2EncoderConfig::fields(field);
    field(BACKPLANE_FIELD(use_mask_token));
  }
};

}  // namespace backplane::dinov2
