#pragma once

#include <backplane/model.h>

namespace backplane::albert {

struct AlbertConfig : PretrainedConfig {
  static constexpr const char* model_type = "albert";

  int64_t vocab_size = 30000;
  int64_t embedding_size = 128;
  int64_t hidden_size = 4096;
  int64_t num_hidden_layers = 12;
  int64_t num_hidden_groups = 1;
  int64_t num_attention_heads = 64;
  int64_t intermediate_size = 16384;
  int64_t inner_group_num = 1;
  std::string hidden_act = "gelu_new";
  double hidden_dropout_prob = 0;
  double attention_probs_dropout_prob = 0;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  std::optional<double> classifier_dropout_prob = 0.1;
  std::string position_embedding_type = "absolute";  // or relative_key, relative_key_query

  AlbertConfig() {
    pad_token_id = 0;
    bos_token_id = 2;
    eos_token_id = 3;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_hidden_groups));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(inner_group_num));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(classifier_dropout_prob));
    field(BACKPLANE_FIELD(position_embedding_type));
  }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
    if (num_hidden_groups < 1 || num_hidden_groups > std::max<int64_t>(num_hidden_layers, 1) || inner_group_num < 1) {
      throw Error(ErrorCode::bad_config,
                  concat("num_hidden_groups (", num_hidden_groups, ") must lie between 1 and num_hidden_layers (",
                         num_hidden_layers, "), inner_group_num (", inner_group_num, ") above 0"));
    }
  }
};

}  // namespace backplane::albert
