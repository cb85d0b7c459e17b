#pragma once

#include "../roberta/configuration_roberta.h"

namespace backplane::xlm_roberta_xl {

/// RoBERTa's keys with the sizes of the XL model.
struct XLMRobertaXLConfig : roberta::RobertaConfig {
  static constexpr const char* model_type = "xlm-roberta-xl";

  XLMRobertaXLConfig() {
    vocab_size = 250880;
    hidden_size = 2560;
    num_hidden_layers = 36;
    num_attention_heads = 32;
    intermediate_size = 10240;
    max_position_embeddings = 514;
    type_vocab_size = 1;
    layer_norm_eps = 1e-5;
  }
};

}  // namespace backplane::xlm_roberta_xl
