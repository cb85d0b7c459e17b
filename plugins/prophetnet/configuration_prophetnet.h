#pragma once

#include <backplane/model.h>

namespace backplane::prophetnet {

struct ProphetNetConfig : PretrainedConfig {
  static constexpr const char* model_type = "prophetnet";

  int64_t vocab_size = 30522;
  int64_t hidden_size = 1024;
  int64_t encoder_ffn_dim = 4096;
  int64_t num_encoder_layers = 12;
  int64_t num_encoder_attention_heads = 16;
  int64_t decoder_ffn_dim = 4096;
  int64_t num_decoder_layers = 12;
  int64_t num_decoder_attention_heads = 16;
  int64_t max_position_embeddings = 512;
  double init_std = 0.02;
  std::string activation_function = "gelu";
  int64_t ngram = 2;  // streams that predict, one token further each
  int64_t num_buckets = 32;
  int64_t relative_max_distance = 128;
  bool disable_ngram_loss = false;
  double eps = 0;  // of label smoothing
  double attention_dropout = 0.1;
  double activation_dropout = 0.1;
  double dropout = 0.1;
  bool use_cache = true;

  ProphetNetConfig() {
    is_encoder_decoder = true;
    add_cross_attention = true;
    decoder_start_token_id = 0;
    pad_token_id = 0;
    bos_token_id = 1;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(num_encoder_layers));
    field(BACKPLANE_FIELD(num_encoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(num_decoder_layers));
    field(BACKPLANE_FIELD(num_decoder_attention_heads));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(ngram));
    field(BACKPLANE_FIELD(num_buckets));
    field(BACKPLANE_FIELD(relative_max_distance));
    field(BACKPLANE_FIELD(disable_ngram_loss));
    field(BACKPLANE_FIELD(eps));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(use_cache));
    field.alias("num_attention_heads", "num_encoder_attention_heads");
  }

  void validate() override {
    for (const auto& [key, heads] : {std::pair("num_encoder_attention_heads", num_encoder_attention_heads),
                                     std::pair("num_decoder_attention_heads", num_decoder_attention_heads)}) {
      if (heads <= 0 || hidden_size % heads != 0) {
        throw Error(ErrorCode::bad_config,
                    concat("hidden_size (", hidden_size, ") is not divisible by ", key, " (", heads, ")"));
      }
    }
    if (ngram <= 0 || ngram > 1024) throw Error(ErrorCode::bad_config, concat("ngram is ", ngram));
    if (num_buckets < 2) throw Error(ErrorCode::bad_config, concat("num_buckets is ", num_buckets));
    if (!pad_token_id) throw Error(ErrorCode::bad_config, "pad_token_id is null; positions are counted behind it");
  }
};

}  // namespace backplane::prophetnet
