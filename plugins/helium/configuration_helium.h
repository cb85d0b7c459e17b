#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::helium {

struct HeliumConfig : PretrainedConfig {
  static constexpr const char* model_type = "helium";

  int64_t vocab_size = 48000;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 2560;
  int64_t intermediate_size = 7040;
  int64_t num_hidden_layers = 24;
  int64_t num_attention_heads = 20;
  int64_t num_key_value_heads = 20;
  int64_t head_dim = 128;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-8;
  bool use_cache = true;
  double rope_theta = 100000;
  bool attention_bias = false;
  double attention_dropout = 0;
  bool mlp_bias = false;

  double norm_eps() const { return rms_norm_eps; }

  HeliumConfig() {
    tie_word_embeddings = false;
    bos_token_id = 1;
    pad_token_id = 3;
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
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(mlp_bias));
  }

  void validate() override { check_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::helium
