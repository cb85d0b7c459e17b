#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/state_space.h>

namespace backplane::falcon_h1 {

struct FalconH1Config : PretrainedConfig {
  static constexpr const char* model_type = "falcon_h1";

  int64_t vocab_size = 128000;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 14336;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  int64_t max_position_embeddings = 8192;
  double attention_dropout = 0;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  int64_t num_logits_to_keep = 1;
  double rope_theta = 100000;
  Value rope_scaling;
  bool projectors_bias = false;
  std::optional<int64_t> mamba_d_ssm = 1024;
  int64_t mamba_n_heads = 128;
  Value mamba_d_head = "auto";  // a number, or what fits
  int64_t mamba_n_groups = 1;
  int64_t mamba_d_state = 256;
  int64_t mamba_d_conv = 4;
  int64_t mamba_expand = 2;
  int64_t mamba_chunk_size = 256;
  bool mamba_conv_bias = true;
  bool mamba_proj_bias = false;
  bool mamba_norm_before_gate = true;
  bool mamba_rms_norm = false;
  double lm_head_multiplier = 1;
  double embedding_multiplier = 1;
  std::optional<std::vector<double>> mlp_multipliers;  // gate, down
  std::optional<double> attention_out_multiplier;
  std::optional<double> attention_in_multiplier;
  std::optional<double> key_multiplier;
  std::optional<std::vector<double>> ssm_multipliers;  // gate, x, B, C, dt
  std::optional<double> ssm_in_multiplier;
  std::optional<double> ssm_out_multiplier;

  double norm_eps() const { return rms_norm_eps; }
  int64_t inner() const { return mamba_d_ssm.value_or(mamba_expand * hidden_size); }

  FalconH1Config() {
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
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(projectors_bias));
    field(BACKPLANE_FIELD(mamba_d_ssm));
    field(BACKPLANE_FIELD(mamba_n_heads));
    field(BACKPLANE_FIELD(mamba_d_head));
    field(BACKPLANE_FIELD(mamba_n_groups));
    field(BACKPLANE_FIELD(mamba_d_state));
    field(BACKPLANE_FIELD(mamba_d_conv));
    field(BACKPLANE_FIELD(mamba_expand));
    field(BACKPLANE_FIELD(mamba_chunk_size));
    field(BACKPLANE_FIELD(mamba_conv_bias));
    field(BACKPLANE_FIELD(mamba_proj_bias));
    field(BACKPLANE_FIELD(mamba_norm_before_gate));
    field(BACKPLANE_FIELD(mamba_rms_norm));
    field(BACKPLANE_FIELD(lm_head_multiplier));
    field(BACKPLANE_FIELD(embedding_multiplier));
    field(BACKPLANE_FIELD(mlp_multipliers));
    field(BACKPLANE_FIELD(attention_out_multiplier));
    field(BACKPLANE_FIELD(attention_in_multiplier));
    field(BACKPLANE_FIELD(key_multiplier));
    field(BACKPLANE_FIELD(ssm_multipliers));
    field(BACKPLANE_FIELD(ssm_in_multiplier));
    field(BACKPLANE_FIELD(ssm_out_multiplier));
  }

  void validate() override {
    attention_bias = mlp_bias = false;
    settle_heads(num_attention_heads, num_key_value_heads);
    if (mamba_d_head == Value("auto")) mamba_d_head = mamba_n_heads > 0 ? inner() / mamba_n_heads : 0;
    if (mamba_d_conv <= 0) throw Error(ErrorCode::bad_config, concat("config.json: mamba_d_conv is ", mamba_d_conv));
    check_state_space_heads(mamba_n_heads, mamba_d_head.as_int(), mamba_n_groups, inner());
    for (auto* multiplier : {&attention_out_multiplier, &attention_in_multiplier, &key_multiplier, &ssm_in_multiplier,
                             &ssm_out_multiplier}) {
      if (!*multiplier) *multiplier = 1;
    }
    if (!mlp_multipliers) mlp_multipliers = {1, 1};
    if (!ssm_multipliers) ssm_multipliers = {1, 1, 1, 1, 1};
    if (mlp_multipliers->size() != 2 || ssm_multipliers->size() != 5) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: mlp_multipliers has ", mlp_multipliers->size(), " and ssm_multipliers ",
                         ssm_multipliers->size(), " numbers; expected 2 and 5"));
    }
  }
};

}  // namespace backplane::falcon_h1
