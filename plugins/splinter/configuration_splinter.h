#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::splinter {

/// BERT's keys and the token that stands for a question.
struct SplinterConfig : bert::BertConfig {
  static constexpr const char* model_type = "splinter";

  int64_t question_token_id = 104;

  void fields(FieldVisitor& field) override {
    BertConfig::fields(field);
    field(BACKPLANE_FIELD(question_token_id));
  }
};

}  // namespace backplane::splinter
