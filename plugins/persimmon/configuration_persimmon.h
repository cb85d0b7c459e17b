#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::persimmon {

struct PersimmonConfig : PretrainedConfig {
  static constexpr const char* model_type = "persimmon";

  int64_t vocab_size = 262144;
  int64_t max_position_embeddings = 16384;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 16384;
  int64_t num_hidden_layers = 36;
  int64_t num_attention_heads = 64;
  std::string hidden_act = "relu2";
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 25000;
  Value rope_scaling;
  bool qk_layernorm = true;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  double partial_rotary_factor = 0.5;

  double norm_eps() const { return layer_norm_eps; }

  PersimmonConfig() {
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
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(qk_layernorm));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(partial_rotary_factor));
  }

  void validate() override {
    check_heads(num_attention_heads);
    if (hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
  }
};

}  // namespace backplane::persimmon
