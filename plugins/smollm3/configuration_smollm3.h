#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::smollm3 {

struct SmolLM3Config : PretrainedConfig {
  static constexpr const char* model_type = "smollm3";

  int64_t vocab_size = 128256;
  int64_t max_position_embeddings = 32768;
  int64_t hidden_size = 2048;
  int64_t intermediate_size = 11008;
  int64_t num_hidden_layers = 36;
  int64_t num_attention_heads = 16;
  bool use_sliding_window = false;
  std::optional<int64_t> sliding_window;
  std::optional<int64_t> num_key_value_heads = 4;
  std::string hidden_act = "silu";
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 2000000;
  Value rope_scaling;
  bool attention_bias = false;
  double attention_dropout = 0;
  std::optional<std::vector<int64_t>> no_rope_layers;
  int64_t no_rope_layer_interval = 4;
  std::optional<std::vector<std::string>> layer_types;

  double norm_eps() const { return rms_norm_eps; }
  bool rotates(size_t layer) const { return no_rope_layers->at(layer) != 0; }
  // 0: the layer sees the whole past
  int64_t window(size_t layer) const {
    return use_sliding_window && layer_types->at(layer) == kSlidingAttention ? sliding_window.value_or(0) : 0;
  }

  SmolLM3Config() {
    bos_token_id = 128000;
    pad_token_id = 128004;
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
    field(BACKPLANE_FIELD(use_sliding_window));
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(no_rope_layers));
    field(BACKPLANE_FIELD(no_rope_layer_interval));
    field(BACKPLANE_FIELD(layer_types));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    if (!no_rope_layers) {
      if (no_rope_layer_interval == 0) throw Error(ErrorCode::bad_config, "config.json: no_rope_layer_interval is 0");
      check_layer_count(num_hidden_layers);
      no_rope_layers.emplace();
      for (int64_t i = 1; i <= num_hidden_layers; ++i) no_rope_layers->push_back(i % no_rope_layer_interval != 0);
    }
    if (static_cast<int64_t>(no_rope_layers->size()) < num_hidden_layers) {
      throw Error(ErrorCode::bad_config, concat("config.json: no_rope_layers has ", no_rope_layers->size(),
                                                " entries for ", num_hidden_layers, " layers"));
    }
    settle_layer_types(layer_types, num_hidden_layers, [&](int64_t i) {
      return use_sliding_window && sliding_window && !rotates(static_cast<size_t>(i));
    });
  }
};

}  // namespace backplane::smollm3
