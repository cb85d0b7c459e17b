#pragma once

#include "../deberta_v2/configuration_deberta_v2.h"

namespace backplane::deberta {

/// DeBERTa-v2's keys without those of buckets and convolution, and talking heads.
struct DebertaConfig : deberta_v2::DebertaV2Config {
  static constexpr const char* model_type = "deberta";

  bool talking_head = false;

  DebertaConfig() {
    vocab_size = 50265;
    hidden_size = 768;
    num_hidden_layers = 12;
    num_attention_heads = 12;
    intermediate_size = 3072;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(relative_attention));
    field(BACKPLANE_FIELD(max_relative_positions));
    field(BACKPLANE_FIELD(position_biased_input));
    field(BACKPLANE_FIELD(pos_att_type));
    field(BACKPLANE_FIELD(pooler_dropout));
    field(BACKPLANE_FIELD(pooler_hidden_act));
    field(BACKPLANE_FIELD(pooler_hidden_size));
    field(BACKPLANE_FIELD(legacy));
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(cls_dropout));
    field(BACKPLANE_FIELD(talking_head));
  }
};

}  // namespace backplane::deberta
