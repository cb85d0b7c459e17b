#pragma once

#include "../roberta/configuration_roberta.h"

namespace backplane::xlm_roberta {

/// RoBERTa's keys with BERT's default size of the vocabulary.
struct XLMRobertaConfig : roberta::RobertaConfig {
  static constexpr const char* model_type = "xlm-roberta";

  XLMRobertaConfig() { vocab_size = 30522; }
};

}  // namespace backplane::xlm_roberta
