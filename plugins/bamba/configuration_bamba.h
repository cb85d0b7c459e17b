#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/state_space.h>

namespace backplane::bamba {

struct BambaConfig : PretrainedConfig {
  static constexpr const char* model_type = "bamba";

  int64_t vocab_size = 128000;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 14336;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  int64_t max_position_embeddings = 262144;
  double attention_dropout = 0;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  int64_t num_logits_to_keep = 1;
  std::optional<std::vector<int64_t>> attn_layer_indices;
  double rope_theta = 10000;
  Value rope_scaling;
  double partial_rotary_factor = 0.5;
  int64_t mamba_n_heads = 128;
  Value mamba_d_head = "auto";  // a number, or what fits
  int64_t mamba_n_groups = 1;
  int64_t mamba_d_state = 256;
  int64_t mamba_d_conv = 4;
  int64_t mamba_expand = 2;
  int64_t mamba_chunk_size = 256;
  bool mamba_conv_bias = true;
  bool mamba_proj_bias = false;
  double z_loss_coefficient = 0;

  double norm_eps() const { return rms_norm_eps; }
  bool is_attention(size_t layer) const {
    return attn_layer_indices && std::find(attn_layer_indices->begin(), attn_layer_indices->end(),
                                           static_cast<int64_t>(layer)) != attn_layer_indices->end();
  }

  BambaConfig() {
    tie_word_embeddings = false;
    bos_token_id = 1;
    pad_token_id = 0;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(mlp_bias));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_logits_to_keep));
    field(BACKPLANE_FIELD(attn_layer_indices));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(mamba_n_heads));
    field(BACKPLANE_FIELD(mamba_d_head));
    field(BACKPLANE_FIELD(mamba_n_groups));
    field(BACKPLANE_FIELD(mamba_d_state));
    field(BACKPLANE_FIELD(mamba_d_conv));
    field(BACKPLANE_FIELD(mamba_expand));
    field(BACKPLANE_FIELD(mamba_chunk_size));
    field(BACKPLANE_FIELD(mamba_conv_bias));
    field(BACKPLANE_FIELD(mamba_proj_bias));
    field(BACKPLANE_FIELD(z_loss_coefficient));
  }

  void validate() override {
    attention_bias = mlp_bias = false;
    rope_theta = 10000;
    rope_scaling = nullptr;
    partial_rotary_factor = 0.5;
    settle_heads(num_attention_heads, num_key_value_heads);
    const int64_t inner = mamba_expand * hidden_size;
    if (mamba_d_head == Value("auto")) mamba_d_head = mamba_n_heads > 0 ? inner / mamba_n_heads : 0;
    if (mamba_d_conv <= 0) throw Error(ErrorCode::bad_config, concat("config.json: mamba_d_conv is ", mamba_d_conv));
    check_state_space_heads(mamba_n_heads, mamba_d_head.as_int(), mamba_n_groups, inner);
  }
};

}  // namespace backplane::bamba
