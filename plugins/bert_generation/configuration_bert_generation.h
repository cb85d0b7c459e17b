#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::bert_generation {

/// BERT's keys without type_vocab_size and classifier_dropout.
struct BertGenerationConfig : bert::BertConfig {
  static constexpr const char* model_type = "bert-generation";

  BertGenerationConfig() {
    vocab_size = 50358;
    hidden_size = 1024;
    num_hidden_layers = 24;
    num_attention_heads = 16;
    intermediate_size = 4096;
    bos_token_id = 2;
    eos_token_id = 1;
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
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(use_cache));
  }
};

}  // namespace backplane::bert_generation
