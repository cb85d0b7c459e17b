#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::recurrent_gemma {

struct RecurrentGemmaConfig : PretrainedConfig {
  static constexpr const char* model_type = "recurrent_gemma";

  int64_t num_hidden_layers = 26;
  int64_t vocab_size = 256000;
  int64_t hidden_size = 2560;
  int64_t intermediate_size = 7680;
  int64_t num_attention_heads = 10;
  std::optional<int64_t> lru_width;
  int64_t attention_window_size = 2048;
  int64_t conv1d_width = 4;
  double logits_soft_cap = 30;
  double rms_norm_eps = 1e-6;
  bool use_cache = true;
  double rope_theta = 10000;
  double partial_rotary_factor = 0.5;
  std::vector<std::string> block_types = {"recurrent", "recurrent", "attention"};
  std::string hidden_activation = "gelu_pytorch_tanh";
  int64_t head_dim = 256;
  std::optional<int64_t> num_key_value_heads;
  double attention_dropout = 0;
  bool attention_bias = false;
  double w_init_variance_scale = 0.01;
  double final_w_init_variance_scale = 0.07692307692307693;

  bool is_attention(size_t layer) const { return block_types[layer % block_types.size()] == "attention"; }

  RecurrentGemmaConfig() {
    bos_token_id = 2;
    pad_token_id = 0;
    eos_token_id = 1;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(lru_width));
    field(BACKPLANE_FIELD(attention_window_size));
    field(BACKPLANE_FIELD(conv1d_width));
    field(BACKPLANE_FIELD(logits_soft_cap));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(block_types));
    field(BACKPLANE_FIELD(hidden_activation));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(w_init_variance_scale));
    field(BACKPLANE_FIELD(final_w_init_variance_scale));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_layer_count(num_hidden_layers);
    head_dim = hidden_size / num_attention_heads;
    if (!lru_width) lru_width = hidden_size;
    if (*lru_width % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: lru_width (", *lru_width, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
    final_w_init_variance_scale = 2.0 / static_cast<double>(num_hidden_layers);
    if (attention_window_size <= 0 || conv1d_width <= 0) {
      throw Error(ErrorCode::bad_config, concat("config.json: attention_window_size is ", attention_window_size,
                                                " and conv1d_width ", conv1d_width));
    }
    if (block_types.empty()) throw Error(ErrorCode::bad_config, "config.json: block_types is empty");
    for (const auto& type : block_types) {
      if (type != "recurrent" && type != "attention") {
        throw Error(ErrorCode::bad_config,
                    concat("config.json: block_types holds '", type, "'; expected 'recurrent' or 'attention'"));
      }
    }
  }
};

}  // namespace backplane::recurrent_gemma
