#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::dots1 {

struct Dots1Config : PretrainedConfig {
  static constexpr const char* model_type = "dots1";

  int64_t vocab_size = 152064;
  int64_t max_position_embeddings = 2048;
  int64_t hidden_size = 4608;
  int64_t intermediate_size = 10944;
  int64_t moe_intermediate_size = 1408;
  int64_t num_hidden_layers = 62;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> n_shared_experts;
  std::optional<int64_t> n_routed_experts;
  std::optional<int64_t> num_experts_per_tok;
  int64_t first_k_dense_replace = 0;
  bool norm_topk_prob = false;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  std::optional<int64_t> num_key_value_heads = 32;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  bool attention_bias = false;
  double attention_dropout = 0;
  double routed_scaling_factor = 1;
  std::optional<int64_t> sliding_window = 4096;
  int64_t max_window_layers = 62;
  std::optional<std::vector<std::string>> layer_types;

  double norm_eps() const { return rms_norm_eps; }
  // 0: the layer sees the whole past
  int64_t window(size_t layer) const {
    return layer_types->at(layer) == kSlidingAttention ? sliding_window.value_or(0) : 0;
  }

  bool is_sparse(size_t layer) const { return static_cast<int64_t>(layer) >= first_k_dense_replace; }

  Dots1Config() { tie_word_embeddings = false; }

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
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(first_k_dense_replace));
    field(BACKPLANE_FIELD(norm_topk_prob));
    field(BACKPLANE_FIELD(n_group));
    field(BACKPLANE_FIELD(topk_group));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(routed_scaling_factor));
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(max_window_layers));
    field(BACKPLANE_FIELD(layer_types));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    settle_layer_types(layer_types, num_hidden_layers,
                       [&](int64_t i) { return sliding_window && i >= max_window_layers; });
    if (first_k_dense_replace >= num_hidden_layers || !n_routed_experts) return;
    check_experts(*n_routed_experts, num_experts_per_tok.value_or(0));
    if (n_group <= 0 || topk_group <= 0 || topk_group > n_group || *n_routed_experts % n_group != 0 ||
        *n_routed_experts / n_group < 2) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: ", *n_routed_experts, " experts do not fall into n_group (", n_group,
                         ") groups of two or more, of which topk_group (", topk_group, ") are taken"));
    }
  }
};

}  // namespace backplane::dots1
