#pragma once

#include <backplane/model.h>

namespace backplane::gpt_neox {

struct GPTNeoXConfig : PretrainedConfig {
  static constexpr const char* model_type = "gpt_neox";

  int64_t vocab_size = 50432;
  int64_t hidden_size = 6144;
  int64_t num_hidden_layers = 44;
  int64_t num_attention_heads = 64;
  int64_t intermediate_size = 24576;
  std::string hidden_act = "gelu";
  double rotary_pct = 0.25;
  double rotary_emb_base = 10000;
  double attention_dropout = 0;
  double hidden_dropout = 0;
  double classifier_dropout = 0.1;
  int64_t max_position_embeddings = 2048;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  bool use_cache = true;
  bool use_parallel_residual = true;
  Value rope_scaling;
  bool attention_bias = true;
  double partial_rotary_factor = 0.25;  // rotary_pct under its newer name
  double rope_theta = 10000;            // rotary_emb_base under its newer name

  int64_t rotated() const {
    return static_cast<int64_t>(static_cast<double>(hidden_size / num_attention_heads) * rotary_pct);
  }

  GPTNeoXConfig() {
    bos_token_id = 0;
    eos_token_id = 2;
    tie_word_embeddings = false;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(rotary_pct));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(rotary_emb_base));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(use_parallel_residual));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_bias));
  }

  void validate() override {
    partial_rotary_factor = rotary_pct;
    rope_theta = rotary_emb_base;
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
    if (!(rotary_pct >= 0 && rotary_pct <= 1) || rotated() < 2 || rotated() % 2 != 0) {
      throw Error(ErrorCode::bad_config, concat("rotary_pct (", rotary_pct, ") of a head of ",
                                                hidden_size / num_attention_heads, " is no even number above 0"));
    }
  }
};

}  // namespace backplane::gpt_neox
