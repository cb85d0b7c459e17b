#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::mistral {

struct MistralConfig : PretrainedConfig {
  static constexpr const char* model_type = "mistral";

  int64_t vocab_size = 32000;
  int64_t max_position_embeddings = 131072;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 14336;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> sliding_window = 4096;
  std::optional<int64_t> head_dim;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  double attention_dropout = 0;

  double norm_eps() const { return rms_norm_eps; }

  MistralConfig() {
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
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
  }

  void validate() override { settle_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::mistral
