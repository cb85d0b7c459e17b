#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::lilt {

/// BERT's keys without the cache, and those of the layout's stream.
struct LiltConfig : bert::BertConfig {
  static constexpr const char* model_type = "lilt";

  int64_t channel_shrink_ratio = 4;
  int64_t max_2d_position_embeddings = 1024;

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
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(classifier_dropout));
    field(BACKPLANE_FIELD(channel_shrink_ratio));
    field(BACKPLANE_FIELD(max_2d_position_embeddings));
  }

  void validate() override {
    if (channel_shrink_ratio < 1 || num_attention_heads < 1 ||
        hidden_size / num_attention_heads < channel_shrink_ratio) {
      throw Error(ErrorCode::bad_config, concat("channel_shrink_ratio (", channel_shrink_ratio,
                                                ") must lie between 1 and hidden_size / num_attention_heads"));
    }
  }
};

}  // namespace backplane::lilt
