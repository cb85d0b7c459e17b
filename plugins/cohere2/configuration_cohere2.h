#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::cohere2 {

struct Cohere2Config : PretrainedConfig {
  static constexpr const char* model_type = "cohere2";

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
  std::optional<int64_t> sliding_window = 4096;
  std::optional<std::vector<std::string>> layer_types;
  int64_t head_dim = 128;

  double norm_eps() const { return layer_norm_eps; }
  // 0: the layer sees the whole past
  int64_t window(size_t layer) const {
    return layer_types->at(layer) == kSlidingAttention ? sliding_window.value_or(0) : 0;
  }

  Cohere2Config() {
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
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(layer_types));
    field(BACKPLANE_FIELD(head_dim));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    head_dim = hidden_size / num_attention_heads;
    int64_t pattern = 4;
    if (const Value* kept = find_extra("sliding_window_pattern"); kept && kept->is_int()) pattern = kept->as_int();
    if (pattern == 0) throw Error(ErrorCode::bad_config, "config.json: sliding_window_pattern is 0");
    settle_layer_types(layer_types, num_hidden_layers, [&](int64_t i) { return (i + 1) % pattern != 0; });
  }
};

}  // namespace backplane::cohere2
