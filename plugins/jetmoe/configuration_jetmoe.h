#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::jetmoe {

struct JetMoeConfig : PretrainedConfig {
  static constexpr const char* model_type = "jetmoe";

  int64_t vocab_size = 32000;
  int64_t hidden_size = 2048;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 32;
  int64_t num_key_value_heads = 16;
  int64_t kv_channels = 128;
  int64_t intermediate_size = 5632;
  int64_t max_position_embeddings = 4096;
  std::string activation_function = "silu";
  int64_t num_local_experts = 8;
  int64_t num_experts_per_tok = 2;
  bool output_router_logits = false;
  double aux_loss_coef = 0.01;
  bool use_cache = true;
  double initializer_range = 0.01;
  double attention_dropout = 0;
  double rope_theta = 10000;
  double rms_norm_eps = 1e-6;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }

  JetMoeConfig() {
    bos_token_id = 1;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(kv_channels));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(num_local_experts));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(aux_loss_coef));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rms_norm_eps));
  }

  void validate() override {
    num_attention_heads = num_key_value_heads * num_experts_per_tok;
    check_heads(num_attention_heads, num_key_value_heads);
    check_experts(num_local_experts, num_experts_per_tok);
  }
};

}  // namespace backplane::jetmoe
