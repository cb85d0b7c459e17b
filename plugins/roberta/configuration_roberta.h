#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::roberta {

/// BERT's keys with other special tokens.
struct RobertaConfig : bert::BertConfig {
  static constexpr const char* model_type = "roberta";

  RobertaConfig() {
    vocab_size = 50265;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
  }
};

}  // namespace backplane::roberta
