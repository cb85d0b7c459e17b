#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::rembert {

/// BERT's keys without position_embedding_type and classifier_dropout, with two sizes of embeddings.
struct RemBertConfig : bert::BertConfig {
  static constexpr const char* model_type = "rembert";

  int64_t input_embedding_size = 256;
  int64_t output_embedding_size = 1664;
  double classifier_dropout_prob = 0.1;

  RemBertConfig() {
    vocab_size = 250300;
    hidden_size = 1152;
    num_hidden_layers = 32;
    num_attention_heads = 18;
    intermediate_size = 4608;
    hidden_dropout_prob = 0;
    attention_probs_dropout_prob = 0;
    bos_token_id = 312;
    eos_token_id = 313;
    tie_word_embeddings = false;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(input_embedding_size));
    field(BACKPLANE_FIELD(output_embedding_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(classifier_dropout_prob));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
  }

  /// Input and output embeddings have two sizes and are never tied.
  void validate() override { tie_word_embeddings = false; }
};

}  // namespace backplane::rembert
