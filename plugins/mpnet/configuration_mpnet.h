#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::mpnet {

/// BERT's keys without types, caches and kinds of positions.
struct MPNetConfig : bert::BertConfig {
  static constexpr const char* model_type = "mpnet";

  int64_t relative_attention_num_buckets = 32;

  MPNetConfig() {
    vocab_size = 30527;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(relative_attention_num_buckets));
  }
};

}  // namespace backplane::mpnet
