#pragma once

#include <backplane/model.h>

namespace backplane::bart {

// The keys that BART and its siblings have in common.
struct BartBaseConfig : PretrainedConfig {
  int64_t vocab_size = 50265;
  int64_t max_position_embeddings = 1024;
  int64_t d_model = 1024;
  int64_t encoder_layers = 12;
  int64_t encoder_ffn_dim = 4096;
  int64_t encoder_attention_heads = 16;
  int64_t decoder_layers = 12;
  int64_t decoder_ffn_dim = 4096;
  int64_t decoder_attention_heads = 16;
  double encoder_layerdrop = 0;
  double decoder_layerdrop = 0;
  std::string activation_function = "gelu";
  double dropout = 0.1;
  double attention_dropout = 0;
  double activation_dropout = 0;
  double init_std = 0.02;
  bool scale_embedding = false;  // by sqrt(d_model)
  bool use_cache = true;
  std::optional<int64_t> num_hidden_layers;  // null: encoder_layers

  BartBaseConfig() { is_encoder_decoder = true; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(encoder_layers));
    field(BACKPLANE_FIELD(encoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(encoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(scale_embedding));
    field.alias("num_attention_heads", "encoder_attention_heads");
    field.alias("hidden_size", "d_model");
  }

  void validate() override {
    for (const auto& [key, heads] : {std::pair("encoder_attention_heads", encoder_attention_heads),
                                     std::pair("decoder_attention_heads", decoder_attention_heads)}) {
      if (heads <= 0 || d_model % heads != 0) {
        throw Error(ErrorCode::bad_config,
                    concat("d_model (", d_model, ") is not divisible by ", key, " (", heads, ")"));
      }
    }
    if (!num_hidden_layers) num_hidden_layers = encoder_layers;
  }
};

struct BartConfig : BartBaseConfig {
  static constexpr const char* model_type = "bart";

  double classifier_dropout = 0;

  BartConfig() {
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
    decoder_start_token_id = 2;
    forced_eos_token_id = 2;
    set_num_labels(3);
  }

  void fields(FieldVisitor& field) override {
    BartBaseConfig::fields(field);
    field(BACKPLANE_FIELD(classifier_dropout));
  }

  void validate() override {
    BartBaseConfig::validate();
    const Value* forced = find_extra("force_bos_token_to_be_generated");
    if (forced_bos_token_id.is_null() && forced && forced->is_bool() && forced->as_bool() && bos_token_id)
      forced_bos_token_id = *bos_token_id;
  }
};

}  // namespace backplane::bart
