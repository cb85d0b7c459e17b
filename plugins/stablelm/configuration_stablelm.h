#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::stablelm {

struct StableLmConfig : PretrainedConfig {
  static constexpr const char* model_type = "stablelm";

  int64_t vocab_size = 50304;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 2560;
  int64_t intermediate_size = 6912;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  int64_t num_key_value_heads = 32;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  bool use_qkv_bias = false;
  bool qk_layernorm = false;
  bool use_parallel_residual = false;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  double partial_rotary_factor = 0.25;

  double norm_eps() const { return layer_norm_eps; }

  StableLmConfig() {
    tie_word_embeddings = false;
    bos_token_id = 0;
    eos_token_id = 0;
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
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(use_qkv_bias));
    field(BACKPLANE_FIELD(qk_layernorm));
    field(BACKPLANE_FIELD(use_parallel_residual));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(partial_rotary_factor));
  }

  void validate() override { check_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::stablelm
