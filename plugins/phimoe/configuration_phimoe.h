#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::phimoe {

struct PhimoeConfig : PretrainedConfig {
  static constexpr const char* model_type = "phimoe";

  int64_t vocab_size = 32064;
  int64_t max_position_embeddings = 131072;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 6400;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> sliding_window;
  bool attention_bias = false;
  bool lm_head_bias = false;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 1000000;
  double attention_dropout = 0;
  int64_t num_experts_per_tok = 2;
  int64_t num_local_experts = 16;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  double router_jitter_noise = 0.01;
  double input_jitter_noise = 0;
  Value rope_scaling;

  double norm_eps() const { return rms_norm_eps; }
  int64_t experts_per_token() const { return num_experts_per_tok; }
  // Where the rotary frequencies change from short to long.
  std::optional<int64_t> original_length() const {
    const Value* length = rope_scaling.find("original_max_position_embeddings");
    return length ? std::optional<int64_t>(length->as_int()) : std::nullopt;
  }

  PhimoeConfig() {
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
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(lm_head_bias));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(num_local_experts));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(router_jitter_noise));
    field(BACKPLANE_FIELD(input_jitter_noise));
    field(BACKPLANE_FIELD(rope_scaling));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_experts(num_local_experts, num_experts_per_tok);
    if (num_experts_per_tok != 2 || num_local_experts < 2) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: num_experts_per_tok is ", num_experts_per_tok, "; SparseMixer routes to 2"));
    }
    if (!rope_scaling.is_object()) return;
    for (const char* key : {"short_mscale", "long_mscale"}) {
      if (const Value* scale = rope_scaling.find(key); !scale || !scale->is_number())
        throw Error(ErrorCode::bad_config, concat("config.json: rope_scaling has no number ", key));
    }
  }
};

}  // namespace backplane::phimoe
