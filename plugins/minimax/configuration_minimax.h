#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::minimax {

struct MiniMaxConfig : PretrainedConfig {
  static constexpr const char* model_type = "minimax";

  int64_t vocab_size = 32000;
  int64_t max_position_embeddings = 131072;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 14336;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> sliding_window;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 1000000;
  double attention_dropout = 0;
  std::optional<int64_t> head_dim;
  int64_t num_experts_per_tok = 2;
  int64_t num_local_experts = 8;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  double router_jitter_noise = 0;
  std::optional<std::vector<std::string>> layer_types;
  int64_t block_size = 256;
  double full_attn_alpha_factor = 1;
  double full_attn_beta_factor = 1;
  double linear_attn_alpha_factor = 1;
  double linear_attn_beta_factor = 1;
  double mlp_alpha_factor = 1;
  double mlp_beta_factor = 1;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }
  bool is_linear(size_t layer) const { return layer_types->at(layer) == "linear_attention"; }

  MiniMaxConfig() {
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
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(num_local_experts));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(router_jitter_noise));
    field(BACKPLANE_FIELD(layer_types));
    field(BACKPLANE_FIELD(block_size));
    field(BACKPLANE_FIELD(full_attn_alpha_factor));
    field(BACKPLANE_FIELD(full_attn_beta_factor));
    field(BACKPLANE_FIELD(linear_attn_alpha_factor));
    field(BACKPLANE_FIELD(linear_attn_beta_factor));
    field(BACKPLANE_FIELD(mlp_alpha_factor));
    field(BACKPLANE_FIELD(mlp_beta_factor));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_experts(num_local_experts, num_experts_per_tok);
    if (block_size <= 0) throw Error(ErrorCode::bad_config, concat("config.json: block_size is ", block_size));
    check_layer_count(num_hidden_layers);
    if (!layer_types) {
      layer_types.emplace();
      for (int64_t i = 0; i < num_hidden_layers; ++i)
        layer_types->push_back(i % 2 == 0 ? kFullAttention : "linear_attention");
    }
    if (static_cast<int64_t>(layer_types->size()) < num_hidden_layers) {
      throw Error(ErrorCode::bad_config, concat("config.json: layer_types has ", layer_types->size(), " entries for ",
                                                num_hidden_layers, " layers"));
    }
  }
};

}  // namespace backplane::minimax
