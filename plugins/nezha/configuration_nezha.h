#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::nezha {

/// BERT's keys without position_embedding_type, and how far distances count.
struct NezhaConfig : bert::BertConfig {
  static constexpr const char* model_type = "nezha";

  int64_t max_relative_position = 64;

  NezhaConfig() {
    vocab_size = 21128;
    classifier_dropout = 0.1;
    bos_token_id = 2;
    eos_token_id = 3;
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
    field(BACKPLANE_FIELD(max_relative_position));
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(use_cache));
  }

  void validate() override {
    if (max_relative_position < 0 || max_relative_position > (int64_t{1} << 24))
      throw Error(ErrorCode::bad_config, concat("max_relative_position is ", max_relative_position));
  }
};

}  // namespace backplane::nezha
