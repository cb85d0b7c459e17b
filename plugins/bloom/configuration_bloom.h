#pragma once

#include <backplane/model.h>

namespace backplane::bloom {

struct BloomConfig : PretrainedConfig {
  static constexpr const char* model_type = "bloom";

  int64_t vocab_size = 250880;
  int64_t hidden_size = 64;
  int64_t n_layer = 2;
  int64_t n_head = 8;
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  bool use_cache = true;
  bool apply_residual_connection_post_layernorm = false;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  int64_t pretraining_tp = 1;
  bool slow_but_exact = false;

  BloomConfig() {
    bos_token_id = 1;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(n_layer));
    field(BACKPLANE_FIELD(n_head));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(pretraining_tp));
    field(BACKPLANE_FIELD(apply_residual_connection_post_layernorm));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(slow_but_exact));
    field.alias("num_hidden_layers", "n_layer");
    field.alias("num_attention_heads", "n_head");
    field.alias("n_embed", "hidden_size");
  }

  void validate() override {
    if (n_head <= 0 || hidden_size % n_head != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by n_head (", n_head, ")"));
    }
  }
};

}  // namespace backplane::bloom
