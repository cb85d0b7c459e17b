#include "modeling_gemma.h"

#include "configuration_gemma.h"

namespace backplane::gemma {

struct GemmaPreTrainedModel : PreTrainedModel {
  using Config = GemmaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct GemmaMLPImpl : nn::GatedMlpImpl {
  explicit GemmaMLPImpl(const GemmaConfig& c) : GatedMlpImpl(c.hidden_size, c.intermediate_size, c.hidden_act) {}
};
TORCH_MODULE(GemmaMLP);

struct GemmaModel
    : llama::LlamaModelOf<GemmaPreTrainedModel, llama::LlamaDecoderLayer<llama::LlamaAttention, GemmaMLP, GemmaRMSNorm>,
                          GemmaRMSNorm> {
  using LlamaModelOf::LlamaModelOf;
  Tensor embedded(const Tensor& x) override { return scale_embeddings(x); }
};

struct GemmaForCausalLM : CausalLMHead<GemmaPreTrainedModel, GemmaModel> {
  using CausalLMHead::CausalLMHead;
};
struct GemmaForSequenceClassification : SequenceClassificationHead<GemmaPreTrainedModel, GemmaModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct GemmaForTokenClassification : TokenClassificationHead<GemmaPreTrainedModel, GemmaModel> {
  using TokenClassificationHead::TokenClassificationHead;
};

BACKPLANE_PLUGIN(gemma, plugin) {
  plugin.config<GemmaConfig>();
  plugin.tokenizer("GemmaTokenizer", "GemmaTokenizerFast");
  plugin.model<GemmaModel>(Auto::Model);
  plugin.model<GemmaForCausalLM>(Auto::ForCausalLM);
  plugin.model<GemmaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GemmaForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::gemma
