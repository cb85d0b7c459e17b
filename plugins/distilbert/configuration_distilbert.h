#pragma once

#include <backplane/model.h>

namespace backplane::distilbert {

struct DistilBertConfig : PretrainedConfig {
  static constexpr const char* model_type = "distilbert";

  int64_t vocab_size = 30522;
  int64_t max_position_embeddings = 512;
  bool sinusoidal_pos_embds = false;  // how positions start in training; checkpoints hold them either way
  int64_t n_layers = 6;
  int64_t n_heads = 12;
  int64_t dim = 768;
  int64_t hidden_dim = 3072;
  double dropout = 0.1;
  double attention_dropout = 0.1;
  std::string activation = "gelu";
  double initializer_range = 0.02;
  double qa_dropout = 0.1;
  double seq_classif_dropout = 0.2;

  int64_t hidden_size() const { return dim; }

  DistilBertConfig() { pad_token_id = 0; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(sinusoidal_pos_embds));
    field(BACKPLANE_FIELD(n_layers));
    field(BACKPLANE_FIELD(n_heads));
    field(BACKPLANE_FIELD(dim));
    field(BACKPLANE_FIELD(hidden_dim));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(qa_dropout));
    field(BACKPLANE_FIELD(seq_classif_dropout));
    field.alias("hidden_size", "dim");
    field.alias("num_attention_heads", "n_heads");
    field.alias("num_hidden_layers", "n_layers");
  }

  void validate() override {
    if (n_heads <= 0 || dim % n_heads != 0)
      throw Error(ErrorCode::bad_config, concat("dim (", dim, ") is not divisible by n_heads (", n_heads, ")"));
  }
};

}  // namespace backplane::distilbert
