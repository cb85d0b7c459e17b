#pragma once

#include "configuration_llama.h"

namespace backplane::llama {

struct LlamaPreTrainedModel : PreTrainedModel {
  using Config = LlamaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override;
};

struct LlamaDecoderLayerImpl;
TORCH_MODULE(LlamaDecoderLayer);

struct LlamaModel : LlamaPreTrainedModel {
  explicit LlamaModel(const LlamaConfig& config);
  std::span<const std::string_view> arguments() const override;
  ModelOutput compute(const ModelInputs& inputs) override;

  const LlamaConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<LlamaDecoderLayer> layers{nullptr};
  nn::RMSNorm norm;
};

}  // namespace backplane::llama
