#pragma once

#include "configuration_bert.h"

namespace backplane::bert {

struct BertPreTrainedModel : PreTrainedModel {
  using Config = BertConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "bert"};
  }
};

struct BertEmbeddingsImpl;
struct BertEncoderImpl;
struct BertPoolerImpl;
TORCH_MODULE(BertEmbeddings);
TORCH_MODULE(BertEncoder);
TORCH_MODULE(BertPooler);

struct BertModel : BertPreTrainedModel {
  explicit BertModel(const BertConfig& config, bool add_pooling_layer = true);
  std::span<const std::string_view> arguments() const override;
  ModelOutput compute(const ModelInputs& inputs) override;

  const BertConfig& c;
  BertEmbeddings embeddings{nullptr};
  BertEncoder encoder{nullptr};
  BertPooler pooler{nullptr};
};

}  // namespace backplane::bert
