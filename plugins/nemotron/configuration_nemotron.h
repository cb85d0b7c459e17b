#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::nemotron {

struct NemotronConfig : PretrainedConfig {
  static constexpr const char* model_type = "nemotron";

  int64_t vocab_size = 256000;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 6144;
  int64_t intermediate_size = 24576;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 48;
  std::optional<int64_t> head_dim;
  std::optional<int64_t> num_key_value_heads;
  std::string hidden_act = "relu2";
  double initializer_range = 0.0134;
  double layer_norm_eps = 1e-5;  // the key is norm_eps
  bool use_cache = true;
  double rope_theta = 10000;
  double partial_rotary_factor = 0.5;
  bool attention_bias = false;
  double attention_dropout = 0;
  bool mlp_bias = false;

  double norm_eps() const { return layer_norm_eps; }

  NemotronConfig() {
    tie_word_embeddings = false;
    bos_token_id = 2;
    eos_token_id = 3;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field("norm_eps", layer_norm_eps);
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(mlp_bias));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    head_dim = head_dim_of(*this);
  }
};

}  // namespace backplane::nemotron
