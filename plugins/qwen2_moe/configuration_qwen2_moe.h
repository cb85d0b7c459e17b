#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::qwen2_moe {

struct Qwen2MoeConfig : PretrainedConfig {
  static constexpr const char* model_type = "qwen2_moe";

  int64_t vocab_size = 151936;
  int64_t max_position_embeddings = 32768;
  int64_t hidden_size = 2048;
  int64_t intermediate_size = 5632;
  int64_t num_hidden_layers = 24;
  int64_t num_attention_heads = 16;
  bool use_sliding_window = false;
  std::optional<int64_t> sliding_window = 4096;
  int64_t max_window_layers = 28;
  std::optional<int64_t> num_key_value_heads = 16;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  double attention_dropout = 0;
  int64_t decoder_sparse_step = 1;
  int64_t moe_intermediate_size = 1408;
  int64_t shared_expert_intermediate_size = 5632;
  int64_t num_experts_per_tok = 4;
  int64_t num_experts = 60;
  bool norm_topk_prob = false;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  std::optional<std::vector<int64_t>> mlp_only_layers;
  bool qkv_bias = true;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }
  // Whether the layer's MLP is a mixture of experts.
  bool is_sparse(size_t layer) const {
    const auto i = static_cast<int64_t>(layer);
    return num_experts > 0 && (i + 1) % decoder_sparse_step == 0 &&
           std::find(mlp_only_layers->begin(), mlp_only_layers->end(), i) == mlp_only_layers->end();
  }
  // 0: layers see the whole past
  int64_t window(size_t) const { return sliding_window.value_or(0); }

  Qwen2MoeConfig() { tie_word_embeddings = false; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(use_sliding_window));
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(max_window_layers));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(decoder_sparse_step));
    field(BACKPLANE_FIELD(moe_intermediate_size));
    field(BACKPLANE_FIELD(shared_expert_intermediate_size));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(num_experts));
    field(BACKPLANE_FIELD(norm_topk_prob));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(mlp_only_layers));
    field(BACKPLANE_FIELD(qkv_bias));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    if (!use_sliding_window) sliding_window.reset();
    if (!mlp_only_layers) mlp_only_layers.emplace();
    if (decoder_sparse_step == 0) throw Error(ErrorCode::bad_config, "config.json: decoder_sparse_step is 0");
    if (num_experts > 0) check_experts(num_experts, num_experts_per_tok);
  }
};

}  // namespace backplane::qwen2_moe
