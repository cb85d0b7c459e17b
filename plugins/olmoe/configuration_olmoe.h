#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::olmoe {

struct OlmoeConfig : PretrainedConfig {
  static constexpr const char* model_type = "olmoe";

  int64_t vocab_size = 50304;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 2048;
  int64_t intermediate_size = 2048;
  int64_t num_hidden_layers = 16;
  int64_t num_attention_heads = 16;
  std::optional<int64_t> num_key_value_heads;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  bool attention_bias = false;
  double attention_dropout = 0;
  std::optional<double> clip_qkv;
  int64_t num_experts_per_tok = 8;
  int64_t num_experts = 64;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.01;
  bool norm_topk_prob = false;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }
  bool is_sparse(size_t) const { return true; }

  OlmoeConfig() {
    tie_word_embeddings = false;
    pad_token_id = 1;
    eos_token_id = 50279;
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
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(clip_qkv));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(num_experts));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(norm_topk_prob));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_experts(num_experts, num_experts_per_tok);
  }
};

}  // namespace backplane::olmoe
