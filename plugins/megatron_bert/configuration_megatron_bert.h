#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::megatron_bert {

/// BERT's keys with the sizes of NVIDIA's model.
struct MegatronBertConfig : bert::BertConfig {
  static constexpr const char* model_type = "megatron-bert";

  MegatronBertConfig() {
    vocab_size = 29056;
    hidden_size = 1024;
    num_hidden_layers = 24;
    num_attention_heads = 16;
    intermediate_size = 4096;
  }
};

}  // namespace backplane::megatron_bert
