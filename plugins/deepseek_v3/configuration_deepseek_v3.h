#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::deepseek_v3 {

struct DeepseekV3Config : PretrainedConfig {
  static constexpr const char* model_type = "deepseek_v3";

  int64_t vocab_size = 129280;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 7168;
  int64_t intermediate_size = 18432;
  int64_t moe_intermediate_size = 2048;
  int64_t num_hidden_layers = 61;
  int64_t num_attention_heads = 128;
  int64_t n_shared_experts = 1;
  int64_t n_routed_experts = 256;
  double routed_scaling_factor = 2.5;
  int64_t kv_lora_rank = 512;
  std::optional<int64_t> q_lora_rank = 1536;
  int64_t qk_rope_head_dim = 64;
  int64_t v_head_dim = 128;
  int64_t qk_nope_head_dim = 128;
  int64_t qk_head_dim = 192;
  int64_t head_dim = 64;
  int64_t n_group = 8;
  int64_t topk_group = 4;
  int64_t num_experts_per_tok = 8;
  int64_t first_k_dense_replace = 3;
  bool norm_topk_prob = true;
  bool rope_interleave = true;
  std::optional<int64_t> num_key_value_heads = 128;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  int64_t pretraining_tp = 1;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  bool attention_bias = false;
  double attention_dropout = 0;

  double norm_eps() const { return rms_norm_eps; }
  bool is_sparse(size_t layer) const { return static_cast<int64_t>(layer) >= first_k_dense_replace; }

  DeepseekV3Config() {
    tie_word_embeddings = false;
    bos_token_id = 0;
    eos_token_id = 1;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(moe_intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(n_shared_experts));
    field(BACKPLANE_FIELD(n_routed_experts));
    field(BACKPLANE_FIELD(routed_scaling_factor));
    field(BACKPLANE_FIELD(kv_lora_rank));
    field(BACKPLANE_FIELD(q_lora_rank));
    field(BACKPLANE_FIELD(qk_rope_head_dim));
    field(BACKPLANE_FIELD(v_head_dim));
    field(BACKPLANE_FIELD(qk_nope_head_dim));
    field(BACKPLANE_FIELD(qk_head_dim));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(n_group));
    field(BACKPLANE_FIELD(topk_group));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(first_k_dense_replace));
    field(BACKPLANE_FIELD(norm_topk_prob));
    field(BACKPLANE_FIELD(rope_interleave));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(pretraining_tp));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
  }

  void validate() override {
    qk_head_dim = qk_nope_head_dim + qk_rope_head_dim;
    head_dim = qk_rope_head_dim;
    settle_heads(num_attention_heads, num_key_value_heads);
    check_experts(n_routed_experts, num_experts_per_tok);
    if (n_group <= 0 || topk_group <= 0 || topk_group > n_group || n_routed_experts % n_group != 0 ||
        n_routed_experts / n_group < 2) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: ", n_routed_experts, " experts do not fall into n_group (", n_group,
                         ") groups of two or more, of which topk_group (", topk_group, ") are taken"));
    }
  }
};

}  // namespace backplane::deepseek_v3
