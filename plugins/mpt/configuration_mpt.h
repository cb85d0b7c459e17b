#pragma once

#include <backplane/model.h>

namespace backplane::mpt {

struct MptAttentionConfig : PretrainedConfig {
  static constexpr const char* model_type = "";

  std::string attn_type = "multihead_attention";
  double attn_pdrop = 0;
  std::string attn_impl = "torch";
  std::optional<double> clip_qkv;
  std::optional<double> softmax_scale;  // null: 1 / sqrt(d_model / n_heads)
  bool prefix_lm = false;
  bool attn_uses_sequence_id = false;
  bool alibi = true;
  bool qk_ln = false;
  double alibi_bias_max = 8;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(attn_type));
    field(BACKPLANE_FIELD(attn_pdrop));
    field(BACKPLANE_FIELD(attn_impl));
    field(BACKPLANE_FIELD(clip_qkv));
    field(BACKPLANE_FIELD(softmax_scale));
    field(BACKPLANE_FIELD(prefix_lm));
    field(BACKPLANE_FIELD(attn_uses_sequence_id));
    field(BACKPLANE_FIELD(alibi));
    field(BACKPLANE_FIELD(qk_ln));
    field(BACKPLANE_FIELD(alibi_bias_max));
  }
};

struct MptConfig : PretrainedConfig {
  static constexpr const char* model_type = "mpt";

  int64_t d_model = 2048;
  int64_t n_heads = 16;
  int64_t n_layers = 24;
  int64_t expansion_ratio = 4;
  int64_t max_seq_len = 2048;
  int64_t vocab_size = 50368;
  double resid_pdrop = 0;
  double layer_norm_epsilon = 1e-5;
  double emb_pdrop = 0;
  bool learned_pos_emb = true;
  MptAttentionConfig attn_config;
  std::string init_device = "cpu";
  Value logit_scale;
  bool no_bias = true;
  int64_t verbose = 0;
  double embedding_fraction = 1;
  std::string norm_type = "low_precision_layernorm";
  bool use_cache = false;
  double initializer_range = 0.02;

  int64_t hidden_size() const { return d_model; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(attn_config));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(n_heads));
    field(BACKPLANE_FIELD(n_layers));
    field(BACKPLANE_FIELD(expansion_ratio));
    field(BACKPLANE_FIELD(max_seq_len));
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(resid_pdrop));
    field(BACKPLANE_FIELD(emb_pdrop));
    field(BACKPLANE_FIELD(learned_pos_emb));
    field(BACKPLANE_FIELD(init_device));
    field(BACKPLANE_FIELD(logit_scale));
    field(BACKPLANE_FIELD(no_bias));
    field(BACKPLANE_FIELD(verbose));
    field(BACKPLANE_FIELD(embedding_fraction));
    field(BACKPLANE_FIELD(norm_type));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(initializer_range));
    field.alias("num_attention_heads", "n_heads");
    field.alias("hidden_size", "d_model");
    field.alias("num_hidden_layers", "n_layers");
  }

  void validate() override {
    if (n_heads <= 0 || d_model % n_heads != 0)
      throw Error(ErrorCode::bad_config, concat("d_model (", d_model, ") is not divisible by n_heads (", n_heads, ")"));
  }
};

}  // namespace backplane::mpt
