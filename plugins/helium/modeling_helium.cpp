// Helium: Kyutai 2025, https://kyutai.org/2025/01/13/helium.html
// Helium is LLaMA except: rotary positions pair neighbours, and attention's output projection is square and has no
// bias. Reference: transformers, models/helium/modeling_helium.py

#include "../glm/modeling_glm.h"
#include "configuration_helium.h"

namespace backplane::helium {

struct HeliumPreTrainedModel : PreTrainedModel {
  using Config = HeliumConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct HeliumMLPImpl : nn::GatedMlpImpl {
  explicit HeliumMLPImpl(const HeliumConfig& c)
      : GatedMlpImpl(c.hidden_size, c.intermediate_size, c.hidden_act, c.mlp_bias) {}
};
TORCH_MODULE(HeliumMLP);

struct HeliumModel
    : llama::LlamaModelOf<HeliumPreTrainedModel, llama::LlamaDecoderLayer<glm::GlmAttention, HeliumMLP>> {
  using LlamaModelOf::LlamaModelOf;
};

struct HeliumForCausalLM : CausalLMHead<HeliumPreTrainedModel, HeliumModel> {
  using CausalLMHead::CausalLMHead;
};
struct HeliumForSequenceClassification : SequenceClassificationHead<HeliumPreTrainedModel, HeliumModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct HeliumForTokenClassification : TokenClassificationHead<HeliumPreTrainedModel, HeliumModel> {
  using TokenClassificationHead::TokenClassificationHead;
};

BACKPLANE_PLUGIN(helium, plugin) {
  plugin.config<HeliumConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.model<HeliumModel>(Auto::Model);
  plugin.model<HeliumForCausalLM>(Auto::ForCausalLM);
  plugin.model<HeliumForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<HeliumForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::helium
