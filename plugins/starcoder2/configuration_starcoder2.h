#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::starcoder2 {

struct Starcoder2Config : PretrainedConfig {
  static constexpr const char* model_type = "starcoder2";

  int64_t vocab_size = 49152;
  int64_t max_position_embeddings = 4096;
  int64_t hidden_size = 3072;
  int64_t intermediate_size = 12288;
  int64_t num_hidden_layers = 30;
  int64_t num_attention_heads = 24;
  std::optional<int64_t> sliding_window;
  bool use_bias = true;
  std::optional<int64_t> num_key_value_heads = 2;
  std::string hidden_act = "gelu_pytorch_tanh";
  double initializer_range = 0.018042;
  double norm_epsilon = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  double attention_dropout = 0;
  double residual_dropout = 0;
  double embedding_dropout = 0;

  double norm_eps() const { return norm_epsilon; }

  Starcoder2Config() {
    bos_token_id = 50256;
    eos_token_id = 50256;
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
    field(BACKPLANE_FIELD(use_bias));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(norm_epsilon));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(residual_dropout));
    field(BACKPLANE_FIELD(embedding_dropout));
  }

  void validate() override { settle_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::starcoder2
