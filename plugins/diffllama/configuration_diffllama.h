#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::diffllama {

struct DiffLlamaConfig : PretrainedConfig {
  static constexpr const char* model_type = "diffllama";

  int64_t vocab_size = 32000;
  int64_t max_position_embeddings = 2048;
  int64_t hidden_size = 2048;
  int64_t intermediate_size = 8192;
  int64_t num_hidden_layers = 16;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> num_key_value_heads;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  bool attention_bias = false;
  double attention_dropout = 0;
  double lambda_std_dev = 0.1;
  std::optional<int64_t> head_dim;

  double norm_eps() const { return rms_norm_eps; }

  DiffLlamaConfig() {
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
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(lambda_std_dev));
    field(BACKPLANE_FIELD(head_dim));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    head_dim = head_dim_of(*this);
    if (num_attention_heads % 2 != 0 || *num_key_value_heads % 2 != 0) {
      throw Error(ErrorCode::bad_config, concat("config.json: num_attention_heads (", num_attention_heads,
                                                ") and num_key_value_heads (", *num_key_value_heads, ") must be even"));
    }
  }
};

}  // namespace backplane::diffllama
