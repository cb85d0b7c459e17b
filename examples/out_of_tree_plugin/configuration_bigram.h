#pragma once

#include <backplane/model.h>

namespace backplane::bigram {

struct BigramConfig : PretrainedConfig {
  static constexpr const char* model_type = "bigram";
  int64_t vocab_size = 256;

  BigramConfig() { tie_word_embeddings = false; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
  }
};

}  // namespace backplane::bigram
