#pragma once

#include <backplane/model.h>

namespace backplane::opt {

struct OPTConfig : PretrainedConfig {
  static constexpr const char* model_type = "opt";

  int64_t vocab_size = 50272;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 12;
  int64_t ffn_dim = 3072;
  int64_t max_position_embeddings = 2048;
  bool do_layer_norm_before = true;
  bool _remove_final_layer_norm = false;
  std::optional<int64_t> word_embed_proj_dim;  // null: hidden_size
  double dropout = 0.1;
  double attention_dropout = 0;
  int64_t num_attention_heads = 12;
  std::string activation_function = "relu";
  double layerdrop = 0;
  double init_std = 0.02;
  bool use_cache = true;
  bool enable_bias = true;
  bool layer_norm_elementwise_affine = true;

  int64_t output_size() const { return word_embed_proj_dim.value_or(hidden_size); }

  OPTConfig() {
    pad_token_id = 1;
    bos_token_id = 2;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(word_embed_proj_dim));
    field(BACKPLANE_FIELD(ffn_dim));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(do_layer_norm_before));
    field(BACKPLANE_FIELD(enable_bias));
    field(BACKPLANE_FIELD(layer_norm_elementwise_affine));
    field(BACKPLANE_FIELD(_remove_final_layer_norm));
  }

  void validate() override {
    word_embed_proj_dim = output_size();
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
  }
};

}  // namespace backplane::opt
