#include "modeling_glm.h"

#include "configuration_glm.h"

namespace backplane::glm {

struct GlmPreTrainedModel : PreTrainedModel {
  using Config = GlmConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct GlmModel : llama::LlamaModelOf<GlmPreTrainedModel, llama::LlamaDecoderLayer<GlmAttention, nn::FusedGatedMlp>> {
  using LlamaModelOf::LlamaModelOf;
};

struct GlmForCausalLM : CausalLMHead<GlmPreTrainedModel, GlmModel> {
  using CausalLMHead::CausalLMHead;
};
struct GlmForSequenceClassification : SequenceClassificationHead<GlmPreTrainedModel, GlmModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct GlmForTokenClassification : TokenClassificationHead<GlmPreTrainedModel, GlmModel> {
  using TokenClassificationHead::TokenClassificationHead;
};

BACKPLANE_PLUGIN(glm, plugin) {
  plugin.config<GlmConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.model<GlmModel>(Auto::Model);
  plugin.model<GlmForCausalLM>(Auto::ForCausalLM);
  plugin.model<GlmForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GlmForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::glm
