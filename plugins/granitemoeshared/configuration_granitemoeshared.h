#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::granitemoeshared {

struct GraniteMoeSharedConfig : PretrainedConfig {
  static constexpr const char* model_type = "granitemoeshared";

  int64_t vocab_size = 32000;
  int64_t max_position_embeddings = 2048;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 11008;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> num_key_value_heads;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  std::string position_embedding_type = "rope";
  bool attention_bias = false;
  double attention_dropout = 0;
  double embedding_multiplier = 1;
  double logits_scaling = 1;
  double residual_multiplier = 1;
  double attention_multiplier = 1;
  int64_t num_local_experts = 8;
  int64_t num_experts_per_tok = 2;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  int64_t shared_intermediate_size = 0;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }

  GraniteMoeSharedConfig() {
    tie_word_embeddings = false;
    bos_token_id = 1;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(embedding_multiplier));
    field(BACKPLANE_FIELD(logits_scaling));
    field(BACKPLANE_FIELD(residual_multiplier));
    field(BACKPLANE_FIELD(attention_multiplier));
    field(BACKPLANE_FIELD(num_local_experts));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(shared_intermediate_size));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_experts(num_local_experts, num_experts_per_tok);
  }
};

}  // namespace backplane::granitemoeshared
