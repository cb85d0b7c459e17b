#pragma once

#include "../roberta/configuration_roberta.h"

namespace backplane::camembert {

/// RoBERTa's keys with BERT's default size of the vocabulary.
struct CamembertConfig : roberta::RobertaConfig {
  static constexpr const char* model_type = "camembert";

  CamembertConfig() { vocab_size = 30522; }
};

}  // namespace backplane::camembert
