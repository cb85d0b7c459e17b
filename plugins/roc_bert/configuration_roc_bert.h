#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::roc_bert {

/// BERT's keys, and those of the embeddings of shapes and pronunciations.
struct RoCBertConfig : bert::BertConfig {
  static constexpr const char* model_type = "roc_bert";

  bool enable_pronunciation = true;
  bool enable_shape = true;
  int64_t pronunciation_embed_dim = 768;
  int64_t pronunciation_vocab_size = 910;
  int64_t shape_embed_dim = 512;
  int64_t shape_vocab_size = 24858;
  bool concat_input = true;

  void fields(FieldVisitor& field) override {
    BertConfig::fields(field);
    field(BACKPLANE_FIELD(enable_pronunciation));
    field(BACKPLANE_FIELD(enable_shape));
    field(BACKPLANE_FIELD(pronunciation_embed_dim));
    field(BACKPLANE_FIELD(pronunciation_vocab_size));
    field(BACKPLANE_FIELD(shape_embed_dim));
    field(BACKPLANE_FIELD(shape_vocab_size));
    field(BACKPLANE_FIELD(concat_input));
  }
};

}  // namespace backplane::roc_bert
