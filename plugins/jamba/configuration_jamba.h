#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::jamba {

struct JambaConfig : PretrainedConfig {
  static constexpr const char* model_type = "jamba";

  int64_t vocab_size = 65536;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 14336;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> sliding_window;
  int64_t max_position_embeddings = 262144;
  double attention_dropout = 0;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  int64_t num_logits_to_keep = 1;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  int64_t num_experts_per_tok = 2;
  int64_t num_experts = 16;
  int64_t expert_layer_period = 2;
  int64_t expert_layer_offset = 1;
  int64_t attn_layer_period = 8;
  int64_t attn_layer_offset = 4;
  bool use_mamba_kernels = true;
  int64_t mamba_d_state = 16;
  int64_t mamba_d_conv = 4;
  int64_t mamba_expand = 2;
  Value mamba_dt_rank = "auto";  // a number, or hidden_size / 16 rounded up
  bool mamba_conv_bias = true;
  bool mamba_proj_bias = false;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }
  bool is_attention(size_t layer) const { return int64_t(layer) % attn_layer_period == attn_layer_offset; }
  bool is_sparse(size_t layer) const {
    return num_experts > 1 && int64_t(layer) % expert_layer_period == expert_layer_offset;
  }

  JambaConfig() {
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
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_logits_to_keep));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(num_experts));
    field(BACKPLANE_FIELD(expert_layer_period));
    field(BACKPLANE_FIELD(expert_layer_offset));
    field(BACKPLANE_FIELD(attn_layer_period));
    field(BACKPLANE_FIELD(attn_layer_offset));
    field(BACKPLANE_FIELD(use_mamba_kernels));
    field(BACKPLANE_FIELD(mamba_d_state));
    field(BACKPLANE_FIELD(mamba_d_conv));
    field(BACKPLANE_FIELD(mamba_expand));
    field(BACKPLANE_FIELD(mamba_dt_rank));
    field(BACKPLANE_FIELD(mamba_conv_bias));
    field(BACKPLANE_FIELD(mamba_proj_bias));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    if (num_experts > 1) check_experts(num_experts, num_experts_per_tok);
    if (mamba_dt_rank == Value("auto")) mamba_dt_rank = (hidden_size + 15) / 16;
    if (mamba_d_conv <= 0) throw Error(ErrorCode::bad_config, concat("config.json: mamba_d_conv is ", mamba_d_conv));
    check_offset("attention", attn_layer_period, attn_layer_offset);
    check_offset("expert", expert_layer_period, expert_layer_offset);
  }

 private:
  static void check_offset(const char* kind, int64_t period, int64_t offset) {
    if (period <= 0 || offset < 0 || offset >= period) {
      throw Error(ErrorCode::bad_config, concat("config.json: ", kind, " layer offset (", offset,
                                                ") must be smaller than ", kind, " layer period (", period, ")"));
    }
  }
};

}  // namespace backplane::jamba
