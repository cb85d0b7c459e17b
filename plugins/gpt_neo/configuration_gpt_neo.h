#pragma once

#include <backplane/model.h>

namespace backplane::gpt_neo {

struct GPTNeoConfig : PretrainedConfig {
  static constexpr const char* model_type = "gpt_neo";

  int64_t vocab_size = 50257;
  int64_t max_position_embeddings = 2048;
  int64_t hidden_size = 2048;
  int64_t num_layers = 24;
  Value attention_types = Value::List{Value::List{Value::List{"global", "local"}, 12}};  // [[kinds], repeats], …
  int64_t num_heads = 16;
  std::optional<int64_t> intermediate_size;  // null: 4 * hidden_size
  int64_t window_size = 256;
  std::string activation_function = "gelu_new";
  double resid_dropout = 0;
  double embed_dropout = 0;
  double attention_dropout = 0;
  double classifier_dropout = 0.1;
  double layer_norm_epsilon = 1e-5;
  double initializer_range = 0.02;
  bool use_cache = true;
  std::vector<std::string> attention_layers;  // attention_types written out, one a layer

  int64_t inner_size() const { return intermediate_size.value_or(4 * hidden_size); }

  GPTNeoConfig() {
    bos_token_id = 50256;
    eos_token_id = 50256;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_layers));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(window_size));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(resid_dropout));
    field(BACKPLANE_FIELD(embed_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(attention_types));
    field(BACKPLANE_FIELD(attention_layers));
    field.alias("num_attention_heads", "num_heads");
    field.alias("num_hidden_layers", "num_layers");
  }

  void validate() override {
    if (num_heads <= 0 || hidden_size % num_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_heads (", num_heads, ")"));
    }
    attention_layers.clear();
    for (const Value& item : attention_types.as_list()) {
      const auto& parts = item.as_list();
      if (parts.size() != 2) throw Error(ErrorCode::bad_config, "attention_types: give pairs of kinds and a number");
      const auto& kinds = parts[0].as_list();
      for (int64_t i = 0; i < parts[1].as_int() && !kinds.empty(); ++i) {
        for (const Value& kind : kinds) attention_layers.push_back(kind.as_string());
        if (static_cast<int64_t>(attention_layers.size()) > num_layers) break;
      }
    }
    if (static_cast<int64_t>(attention_layers.size()) != num_layers) {
      throw Error(ErrorCode::bad_config, concat("attention_types make ", attention_layers.size(),
                                                " layers or more; num_layers is ", num_layers));
    }
    for (const auto& kind : attention_layers) {
      if (kind != "global" && kind != "local")
        throw Error(ErrorCode::bad_config, concat("attention_types: '", kind, "' is neither global nor local"));
    }
  }
};

}  // namespace backplane::gpt_neo
