#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::qwen2 {

struct Qwen2Config : PretrainedConfig {
  static constexpr const char* model_type = "qwen2";

  int64_t vocab_size = 151936;
  int64_t max_position_embeddings = 32768;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 22016;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  bool use_sliding_window = false;
  std::optional<int64_t> sliding_window = 4096;
  int64_t max_window_layers = 28;
  std::optional<int64_t> num_key_value_heads = 32;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  double attention_dropout = 0;
  std::optional<std::vector<std::string>> layer_types;

  double norm_eps() const { return rms_norm_eps; }
  // 0: the layer sees the whole past
  int64_t window(size_t layer) const {
    return layer_types->at(layer) == kSlidingAttention ? sliding_window.value_or(0) : 0;
  }

  Qwen2Config() { tie_word_embeddings = false; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(use_sliding_window));
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(max_window_layers));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(layer_types));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    if (!use_sliding_window) sliding_window.reset();
    settle_layer_types(layer_types, num_hidden_layers,
                       [&](int64_t i) { return sliding_window && i >= max_window_layers; });
  }
};

}  // namespace backplane::qwen2
