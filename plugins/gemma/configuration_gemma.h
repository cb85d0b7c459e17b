#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::gemma {

struct GemmaConfig : PretrainedConfig {
  static constexpr const char* model_type = "gemma";

  int64_t vocab_size = 256000;
  int64_t max_position_embeddings = 8192;
  int64_t hidden_size = 3072;
  int64_t intermediate_size = 24576;
  int64_t num_hidden_layers = 28;
  int64_t num_attention_heads = 16;
  int64_t head_dim = 256;
  int64_t num_key_value_heads = 16;
  std::string hidden_act = "gelu_pytorch_tanh";
  std::optional<std::string> hidden_activation;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  bool attention_bias = false;
  double attention_dropout = 0;

  double norm_eps() const { return rms_norm_eps; }

  GemmaConfig() {
    bos_token_id = 2;
    pad_token_id = 0;
    eos_token_id = 1;
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
    field(BACKPLANE_FIELD(hidden_activation));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
  }

  void validate() override { check_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::gemma
