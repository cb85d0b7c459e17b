#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::ernie {

struct ErnieConfig : bert::BertConfig {
  static constexpr const char* model_type = "ernie";

  int64_t task_type_vocab_size = 3;
  bool use_task_id = false;

  void fields(FieldVisitor& field) override {
    BertConfig::fields(field);
    field(BACKPLANE_FIELD(task_type_vocab_size));
    field(BACKPLANE_FIELD(use_task_id));
  }
};

}  // namespace backplane::ernie
