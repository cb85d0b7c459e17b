#pragma once

#include <backplane/model.h>

namespace backplane::t5 {

struct T5Config : PretrainedConfig {
  static constexpr const char* model_type = "t5";

  int64_t vocab_size = 32128;
  int64_t d_model = 512;
  int64_t d_kv = 64;
  int64_t d_ff = 2048;
  int64_t num_layers = 6;
  std::optional<int64_t> num_decoder_layers;  // null: num_layers
  int64_t num_heads = 8;
  int64_t relative_attention_num_buckets = 32;
  int64_t relative_attention_max_distance = 128;
  double dropout_rate = 0.1;
  double classifier_dropout = 0;
  double layer_norm_epsilon = 1e-6;
  double initializer_factor = 1;
  std::string feed_forward_proj = "relu";  // an activation, or "gated-" and one
  bool use_cache = true;
  std::optional<std::string> dense_act_fn;  // null: as feed_forward_proj says
  std::optional<bool> is_gated_act;

  T5Config() {
    is_encoder_decoder = true;
    pad_token_id = 0;
    eos_token_id = 1;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(d_kv));
    field(BACKPLANE_FIELD(d_ff));
    field(BACKPLANE_FIELD(num_layers));
    field(BACKPLANE_FIELD(num_decoder_layers));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(relative_attention_num_buckets));
    field(BACKPLANE_FIELD(relative_attention_max_distance));
    field(BACKPLANE_FIELD(dropout_rate));
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_factor));
    field(BACKPLANE_FIELD(feed_forward_proj));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(dense_act_fn));
    field(BACKPLANE_FIELD(is_gated_act));
    field.alias("hidden_size", "d_model");
    field.alias("num_attention_heads", "num_heads");
    field.alias("num_hidden_layers", "num_layers");
    field.alias("head_dim", "d_kv");
  }

  void validate() override {
    const auto parts = split(feed_forward_proj, '-');
    const bool gated = parts.front() == "gated";
    if (parts.size() > 2 || (parts.size() == 2 && !gated)) {
      throw Error(ErrorCode::bad_config, concat("feed_forward_proj is '", feed_forward_proj,
                                                "'; expected an activation or 'gated-' and an activation"));
    }
    if (!is_gated_act) is_gated_act = gated;
    if (!dense_act_fn) dense_act_fn = feed_forward_proj == "gated-gelu" ? "gelu_new" : parts.back();
    if (!num_decoder_layers) num_decoder_layers = num_layers;
    if (num_heads <= 0 || d_kv <= 0)
      throw Error(ErrorCode::bad_config, concat("num_heads is ", num_heads, " and d_kv is ", d_kv));
    if (relative_attention_num_buckets < 4) {
      throw Error(ErrorCode::bad_config, concat("relative_attention_num_buckets is ", relative_attention_num_buckets,
                                                "; two directions need 4 or more"));
    }
  }
};

}  // namespace backplane::t5
