#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::cohere {

struct CohereConfig : PretrainedConfig {
  static constexpr const char* model_type = "cohere";

  int64_t vocab_size = 256000;
  int64_t max_position_embeddings = 8192;
  int64_t hidden_size = 8192;
  double logit_scale = 0.0625;
  int64_t intermediate_size = 22528;
  int64_t num_hidden_layers = 40;
  int64_t num_attention_heads = 64;
  std::optional<int64_t> num_key_value_heads;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  bool attention_bias = false;
  double attention_dropout = 0;
  bool use_qk_norm = false;

  double norm_eps() const { return layer_norm_eps; }

  CohereConfig() {
    bos_token_id = 5;
    pad_token_id = 0;
    eos_token_id = 255001;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(logit_scale));
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
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(use_qk_norm));
  }

  void validate() override { settle_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::cohere
