#pragma once

#include "../bert/configuration_bert.h"

namespace backplane::electra {

struct ElectraConfig : bert::BertConfig {
  static constexpr const char* model_type = "electra";

  int64_t embedding_size = 128;
  std::string summary_type = "first";
  bool summary_use_proj = true;
  std::optional<std::string> summary_activation = "gelu";
  double summary_last_dropout = 0.1;

  ElectraConfig() {
    hidden_size = 256;
    num_attention_heads = 4;
    intermediate_size = 1024;
  }

  void fields(FieldVisitor& field) override {
    BertConfig::fields(field);
    field(BACKPLANE_FIELD(embedding_size));
    field(BACKPLANE_FIELD(summary_type));
    field(BACKPLANE_FIELD(summary_use_proj));
    field(BACKPLANE_FIELD(summary_activation));
    field(BACKPLANE_FIELD(summary_last_dropout));
  }
};

}  // namespace backplane::electra
