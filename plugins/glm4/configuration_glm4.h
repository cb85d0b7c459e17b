#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::glm4 {

struct Glm4Config : PretrainedConfig {
  static constexpr const char* model_type = "glm4";

  int64_t vocab_size = 151552;
  int64_t max_position_embeddings = 131072;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 13696;
  int64_t num_hidden_layers = 40;
  int64_t num_attention_heads = 32;
  double partial_rotary_factor = 0.5;
  int64_t head_dim = 128;
  int64_t num_key_value_heads = 2;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 0.00000015625;
  bool use_cache = true;
  double rope_theta = 10000;
  bool attention_bias = true;
  double attention_dropout = 0;

  double norm_eps() const { return rms_norm_eps; }

  Glm4Config() {
    tie_word_embeddings = false;
    pad_token_id = 151329;
    eos_token_id = Value::List{151329, 151336, 151338};
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
  }

  void validate() override { check_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::glm4
