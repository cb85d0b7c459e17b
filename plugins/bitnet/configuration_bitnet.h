#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::bitnet {

struct BitNetConfig : PretrainedConfig {
  static constexpr const char* model_type = "bitnet";

  int64_t vocab_size = 128256;
  int64_t max_position_embeddings = 2048;
  int64_t hidden_size = 2560;
  int64_t intermediate_size = 6912;
  int64_t num_hidden_layers = 30;
  int64_t num_attention_heads = 20;
  std::optional<int64_t> num_key_value_heads = 5;
  std::string hidden_act = "relu2";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 500000;
  bool attention_bias = false;
  double attention_dropout = 0;

  double norm_eps() const { return rms_norm_eps; }

  BitNetConfig() {
    tie_word_embeddings = false;
    bos_token_id = 128000;
    eos_token_id = 128001;
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
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
  }

  void validate() override { settle_heads(num_attention_heads, num_key_value_heads); }
};

}  // namespace backplane::bitnet
