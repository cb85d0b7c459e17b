#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::gemma3_text {

struct Gemma3TextConfig : PretrainedConfig {
  static constexpr const char* model_type = "gemma3_text";

  int64_t vocab_size = 262208;
  int64_t max_position_embeddings = 131072;
  int64_t hidden_size = 2304;
  int64_t intermediate_size = 9216;
  int64_t num_hidden_layers = 26;
  int64_t num_attention_heads = 8;
  int64_t head_dim = 256;
  int64_t num_key_value_heads = 4;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 1000000;
  bool attention_bias = false;
  double attention_dropout = 0;
  std::string hidden_activation = "gelu_pytorch_tanh";
  double query_pre_attn_scalar = 256;
  std::optional<int64_t> sliding_window = 4096;
  std::optional<double> final_logit_softcapping;
  std::optional<double> attn_logit_softcapping;
  std::optional<std::vector<std::string>> layer_types;
  double rope_local_base_freq = 10000;
  Value rope_scaling;

  double norm_eps() const { return rms_norm_eps; }
  // 0: the layer sees the whole past
  int64_t window(size_t layer) const {
    return layer_types->at(layer) == kSlidingAttention ? sliding_window.value_or(0) : 0;
  }

  Gemma3TextConfig() {
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
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(hidden_activation));
    field(BACKPLANE_FIELD(query_pre_attn_scalar));
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(final_logit_softcapping));
    field(BACKPLANE_FIELD(attn_logit_softcapping));
    field(BACKPLANE_FIELD(layer_types));
    field(BACKPLANE_FIELD(rope_local_base_freq));
    field(BACKPLANE_FIELD(rope_scaling));
  }

  void validate() override {
    check_heads(num_attention_heads, num_key_value_heads);
    int64_t pattern = 6;
    if (const Value* kept = find_extra("sliding_window_pattern"); kept && kept->is_int()) pattern = kept->as_int();
    if (pattern == 0) throw Error(ErrorCode::bad_config, "config.json: sliding_window_pattern is 0");
    settle_layer_types(layer_types, num_hidden_layers, [&](int64_t i) { return (i + 1) % pattern != 0; });
  }
};

}  // namespace backplane::gemma3_text
