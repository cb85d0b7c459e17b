#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::layoutlm {

/// BERT's keys and the size of a page.
struct LayoutLMConfig : bert::BertConfig {
  static constexpr const char* model_type = "layoutlm";

  int64_t max_2d_position_embeddings = 1024;

  void fields(FieldVisitor& field) override {
    BertConfig::fields(field);
    field(BACKPLANE_FIELD(max_2d_position_embeddings));
  }
};

}  // namespace backplane::layoutlm
