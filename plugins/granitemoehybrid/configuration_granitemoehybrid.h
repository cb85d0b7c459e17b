#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>
#include <backplane/nn/state_space.h>

namespace backplane::granitemoehybrid {

struct GraniteMoeHybridConfig : PretrainedConfig {
  static constexpr const char* model_type = "granitemoehybrid";

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
  bool attention_bias = false;
  double embedding_multiplier = 1;
  double logits_scaling = 1;
  double residual_multiplier = 1;
  double attention_multiplier = 1;
  double attention_dropout = 0;
  int64_t num_local_experts = 8;
  int64_t num_experts_per_tok = 2;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  int64_t shared_intermediate_size = 1024;
  std::optional<std::string> position_embedding_type;  // "rope", or none
  int64_t mamba_n_heads = 128;
  Value mamba_d_head = "auto";  // a number, or what fits
  int64_t mamba_n_groups = 1;
  int64_t mamba_d_state = 256;
  int64_t mamba_d_conv = 4;
  int64_t mamba_chunk_size = 256;
  bool mamba_conv_bias = true;
  bool mamba_proj_bias = false;
  int64_t mamba_expand = 2;
  std::optional<std::vector<std::string>> layer_types;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }
  bool is_attention(size_t layer) const { return layer_types && layer_types->at(layer) == "attention"; }

  GraniteMoeHybridConfig() {
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
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(embedding_multiplier));
    field(BACKPLANE_FIELD(logits_scaling));
    field(BACKPLANE_FIELD(residual_multiplier));
    field(BACKPLANE_FIELD(attention_multiplier));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(num_local_experts));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(shared_intermediate_size));
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(mamba_n_heads));
    field(BACKPLANE_FIELD(mamba_d_head));
    field(BACKPLANE_FIELD(mamba_n_groups));
    field(BACKPLANE_FIELD(mamba_d_state));
    field(BACKPLANE_FIELD(mamba_d_conv));
    field(BACKPLANE_FIELD(mamba_chunk_size));
    field(BACKPLANE_FIELD(mamba_conv_bias));
    field(BACKPLANE_FIELD(mamba_proj_bias));
    field(BACKPLANE_FIELD(mamba_expand));
    field(BACKPLANE_FIELD(layer_types));
    field.alias("layers_block_type", "layer_types");
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    const int64_t inner = mamba_expand * hidden_size;
    if (mamba_d_head == Value("auto")) mamba_d_head = mamba_n_heads > 0 ? inner / mamba_n_heads : 0;
    if (mamba_d_conv <= 0) throw Error(ErrorCode::bad_config, concat("config.json: mamba_d_conv is ", mamba_d_conv));
    check_state_space_heads(mamba_n_heads, mamba_d_head.as_int(), mamba_n_groups, inner);
    if (num_local_experts > 0) check_experts(num_local_experts, num_experts_per_tok);
    if (!layer_types) return;
    if (static_cast<int64_t>(layer_types->size()) < num_hidden_layers) {
      throw Error(ErrorCode::bad_config, concat("config.json: layer_types has ", layer_types->size(), " entries for ",
                                                num_hidden_layers, " layers"));
    }
    for (const auto& type : *layer_types) {
      if (type != "mamba" && type != "attention") {
        throw Error(ErrorCode::bad_config,
                    concat("config.json: layer_types holds '", type, "'; expected 'mamba' or 'attention'"));
      }
    }
  }
};

}  // namespace backplane::granitemoehybrid
