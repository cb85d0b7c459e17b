#pragma once

#include <backplane/model.h>

namespace backplane::gpt2 {

struct GPT2Config : PretrainedConfig {
  static constexpr const char* model_type = "gpt2";

  int64_t vocab_size = 50257;
  int64_t n_positions = 1024;
  int64_t n_embd = 768;
  int64_t n_layer = 12;
  int64_t n_head = 12;
  std::optional<int64_t> n_inner;  // null: 4 * n_embd
  std::string activation_function = "gelu_new";
  double resid_pdrop = 0.1;
  double embd_pdrop = 0.1;
  double attn_pdrop = 0.1;
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  std::string summary_type = "cls_index";
  bool summary_use_proj = true;
  std::optional<std::string> summary_activation;
  bool summary_proj_to_labels = true;
  double summary_first_dropout = 0.1;
  bool scale_attn_weights = true;
  bool use_cache = true;
  bool scale_attn_by_inverse_layer_idx = false;
  bool reorder_and_upcast_attn = false;

  int64_t hidden_size() const { return n_embd; }
  int64_t inner_size() const { return n_inner.value_or(4 * n_embd); }

  GPT2Config() {
    bos_token_id = 50256;
    eos_token_id = 50256;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(n_positions));
    field(BACKPLANE_FIELD(n_embd));
    field(BACKPLANE_FIELD(n_layer));
    field(BACKPLANE_FIELD(n_head));
    field(BACKPLANE_FIELD(n_inner));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(resid_pdrop));
    field(BACKPLANE_FIELD(embd_pdrop));
    field(BACKPLANE_FIELD(attn_pdrop));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(summary_type));
    field(BACKPLANE_FIELD(summary_use_proj));
    field(BACKPLANE_FIELD(summary_activation));
    field(BACKPLANE_FIELD(summary_first_dropout));
    field(BACKPLANE_FIELD(summary_proj_to_labels));
    field(BACKPLANE_FIELD(scale_attn_weights));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(scale_attn_by_inverse_layer_idx));
    field(BACKPLANE_FIELD(reorder_and_upcast_attn));
    field.alias("hidden_size", "n_embd");
    field.alias("max_position_embeddings", "n_positions");
    field.alias("num_attention_heads", "n_head");
    field.alias("num_hidden_layers", "n_layer");
  }

  void validate() override {
    if (n_head <= 0 || n_embd % n_head != 0) {
      throw Error(ErrorCode::bad_config, concat("n_embd (", n_embd, ") is not divisible by n_head (", n_head, ")"));
    }
  }
};

}  // namespace backplane::gpt2
