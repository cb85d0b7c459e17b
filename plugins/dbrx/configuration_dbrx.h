#pragma once

#include <backplane/model.h>
#include <backplane/model/moe_heads.h>

namespace backplane::dbrx {

struct DbrxAttentionConfig : PretrainedConfig {
  static constexpr const char* model_type = "";

  double attn_pdrop = 0;
  std::optional<double> clip_qkv;  // null: off
  int64_t kv_n_heads = 1;
  double rope_theta = 10000;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(attn_pdrop));
    field(BACKPLANE_FIELD(clip_qkv));
    field(BACKPLANE_FIELD(kv_n_heads));
    field(BACKPLANE_FIELD(rope_theta));
  }
};

struct DbrxFFNConfig : PretrainedConfig {
  static constexpr const char* model_type = "";

  Value ffn_act_fn;  // an object with the activation's name
  int64_t ffn_hidden_size = 3584;
  int64_t moe_num_experts = 4;
  int64_t moe_top_k = 1;
  std::optional<double> moe_jitter_eps;
  double moe_loss_weight = 0.01;
  std::optional<double> moe_normalize_expert_weights = 1;  // the norm's p; null: off

  std::string act() const {
    const Value* name = ffn_act_fn.find("name");
    return name ? name->as_string() : "silu";
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(ffn_act_fn));
    field(BACKPLANE_FIELD(ffn_hidden_size));
    field(BACKPLANE_FIELD(moe_num_experts));
    field(BACKPLANE_FIELD(moe_top_k));
    field(BACKPLANE_FIELD(moe_jitter_eps));
    field(BACKPLANE_FIELD(moe_loss_weight));
    field(BACKPLANE_FIELD(moe_normalize_expert_weights));
  }

  void validate() override {
    if (ffn_act_fn.is_null()) ffn_act_fn = Value::Object{{"name", "silu"}};
    check_experts(moe_num_experts, moe_top_k);
  }
};

struct DbrxConfig : PretrainedConfig {
  static constexpr const char* model_type = "dbrx";

  DbrxAttentionConfig attn_config;
  DbrxFFNConfig ffn_config;
  int64_t d_model = 2048;
  int64_t n_heads = 16;
  int64_t n_layers = 24;
  int64_t max_seq_len = 2048;
  int64_t vocab_size = 32000;
  double resid_pdrop = 0;
  double emb_pdrop = 0;
  bool use_cache = true;
  double initializer_range = 0.02;
  bool output_router_logits = false;
  int64_t num_key_value_heads = 1;  // of attn_config

  DbrxConfig() { tie_word_embeddings = false; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(attn_config));
    field(BACKPLANE_FIELD(ffn_config));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(n_heads));
    field(BACKPLANE_FIELD(n_layers));
    field(BACKPLANE_FIELD(max_seq_len));
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(resid_pdrop));
    field(BACKPLANE_FIELD(emb_pdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field.alias("num_attention_heads", "n_heads");
    field.alias("hidden_size", "d_model");
    field.alias("num_hidden_layers", "n_layers");
    field.alias("max_position_embeddings", "max_seq_len");
  }

  void validate() override {
    if (tie_word_embeddings) throw Error(ErrorCode::bad_config, "config.json: DBRX does not tie its embeddings");
    attn_config.validate();
    ffn_config.validate();
    num_key_value_heads = attn_config.kv_n_heads;
    check_heads(n_heads, num_key_value_heads);
    if (d_model % n_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: d_model (", d_model, ") is not divisible by n_heads (", n_heads, ")"));
    }
  }
};

}  // namespace backplane::dbrx
