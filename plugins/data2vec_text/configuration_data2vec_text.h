#pragma once

#include "../roberta/configuration_roberta.h"

namespace backplane::data2vec_text {

/// RoBERTa's keys with BERT's default size of the vocabulary.
struct Data2VecTextConfig : roberta::RobertaConfig {
  static constexpr const char* model_type = "data2vec-text";

  Data2VecTextConfig() { vocab_size = 30522; }
};

}  // namespace backplane::data2vec_text
