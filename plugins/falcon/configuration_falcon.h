#pragma once

#include <backplane/model.h>

namespace backplane::falcon {

struct FalconConfig : PretrainedConfig {
  static constexpr const char* model_type = "falcon";

  int64_t vocab_size = 65024;
  int64_t hidden_size = 4544;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 71;
  std::optional<int64_t> num_ln_in_parallel_attn;  // null: 2 with new_decoder_architecture
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  bool use_cache = true;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  std::optional<int64_t> num_kv_heads;  // null: num_attention_heads
  bool alibi = false;
  bool new_decoder_architecture = false;
  bool multi_query = true;  // of the old architecture
  bool parallel_attn = true;
  bool bias = false;
  int64_t max_position_embeddings = 2048;
  double rope_theta = 10000;
  Value rope_scaling;
  std::optional<int64_t> ffn_hidden_size;  // null: 4 * hidden_size
  std::string activation = "gelu";

  int64_t head_size() const { return hidden_size / num_attention_heads; }
  int64_t inner_size() const { return ffn_hidden_size.value_or(4 * hidden_size); }
  bool two_norms() const { return new_decoder_architecture && num_ln_in_parallel_attn.value_or(2) == 2; }
  int64_t kv_heads() const {
    if (new_decoder_architecture) return num_kv_heads.value_or(num_attention_heads);
    return multi_query ? 1 : num_attention_heads;
  }

  FalconConfig() {
    bos_token_id = 11;
    eos_token_id = 11;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(num_kv_heads));
    field(BACKPLANE_FIELD(alibi));
    field(BACKPLANE_FIELD(new_decoder_architecture));
    field(BACKPLANE_FIELD(multi_query));
    field(BACKPLANE_FIELD(parallel_attn));
    field(BACKPLANE_FIELD(bias));
    field(BACKPLANE_FIELD(num_ln_in_parallel_attn));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(activation));
    field(BACKPLANE_FIELD(ffn_hidden_size));
    field.alias("n_embed", "hidden_size");
  }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
    if (!num_kv_heads) num_kv_heads = num_attention_heads;
    if (!ffn_hidden_size) ffn_hidden_size = inner_size();
    if (kv_heads() <= 0 || num_attention_heads % kv_heads() != 0) {
      throw Error(ErrorCode::bad_config, concat("num_attention_heads (", num_attention_heads,
                                                ") is not divisible by num_kv_heads (", kv_heads(), ")"));
    }
    if (new_decoder_architecture && !parallel_attn)
      throw Error(ErrorCode::bad_config, "new_decoder_architecture needs parallel_attn to be true");
    if (!new_decoder_architecture && parallel_attn && num_ln_in_parallel_attn.value_or(1) == 2)
      throw Error(ErrorCode::bad_config, "num_ln_in_parallel_attn of 2 needs new_decoder_architecture to be true");
  }
};

}  // namespace backplane::falcon
