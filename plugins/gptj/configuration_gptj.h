#pragma once

#include <backplane/model.h>

namespace backplane::gptj {

struct GPTJConfig : PretrainedConfig {
  static constexpr const char* model_type = "gptj";

  int64_t vocab_size = 50400;
  int64_t n_positions = 2048;
  int64_t n_embd = 4096;
  int64_t n_layer = 28;
  int64_t n_head = 16;
  std::optional<int64_t> rotary_dim = 64;  // null: the whole head
  std::optional<int64_t> n_inner;          // null: 4 * n_embd
  std::string activation_function = "gelu_new";
  double resid_pdrop = 0;
  double embd_pdrop = 0;
  double attn_pdrop = 0;
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  bool use_cache = true;

  int64_t hidden_size() const { return n_embd; }
  int64_t inner_size() const { return n_inner.value_or(4 * n_embd); }
  int64_t rotated() const { return rotary_dim.value_or(n_embd / n_head); }

  GPTJConfig() {
    bos_token_id = 50256;
    eos_token_id = 50256;
    tie_word_embeddings = false;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(n_positions));
    field(BACKPLANE_FIELD(n_embd));
    field(BACKPLANE_FIELD(n_layer));
    field(BACKPLANE_FIELD(n_head));
    field(BACKPLANE_FIELD(n_inner));
    field(BACKPLANE_FIELD(rotary_dim));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(resid_pdrop));
    field(BACKPLANE_FIELD(embd_pdrop));
    field(BACKPLANE_FIELD(attn_pdrop));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(use_cache));
    field.alias("max_position_embeddings", "n_positions");
    field.alias("hidden_size", "n_embd");
    field.alias("num_attention_heads", "n_head");
    field.alias("num_hidden_layers", "n_layer");
  }

  void validate() override {
    if (n_head <= 0 || n_embd % n_head != 0)
      throw Error(ErrorCode::bad_config, concat("n_embd (", n_embd, ") is not divisible by n_head (", n_head, ")"));
    if (rotated() < 2 || rotated() % 2 != 0 || rotated() > n_embd / n_head) {
      throw Error(ErrorCode::bad_config,
                  concat("rotary_dim (", rotated(), ") must be even, above 0 and at most n_embd / ", "n_head (",
                         n_embd / n_head, ")"));
    }
  }
};

}  // namespace backplane::gptj
