#include "modeling_mistral.h"

#include "configuration_mistral.h"

namespace backplane::mistral {

struct MistralPreTrainedModel : PreTrainedModel {
  using Config = MistralConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct MistralModel
    : llama::LlamaModelOf<MistralPreTrainedModel, llama::LlamaDecoderLayer<MistralAttention, nn::GatedMlp>> {
  using LlamaModelOf::LlamaModelOf;
};

struct MistralForCausalLM : CausalLMHead<MistralPreTrainedModel, MistralModel> {
  using CausalLMHead::CausalLMHead;
};
struct MistralForSequenceClassification : SequenceClassificationHead<MistralPreTrainedModel, MistralModel> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct MistralForTokenClassification : TokenClassificationHead<MistralPreTrainedModel, MistralModel> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct MistralForQuestionAnswering : QuestionAnsweringHead<MistralPreTrainedModel, MistralModel> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

// Files of llama.cpp call Mistral's architecture "llama" and tell it by its name.
static GgufMapping gguf_mapping() {
  GgufMapping mapping = llama::gguf_mapping("llama", "mistral");
  mapping.name_contains = "mistral";
  return mapping;
}

BACKPLANE_PLUGIN(mistral, plugin) {
  plugin.config<MistralConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.gguf(gguf_mapping());
  plugin.model<MistralModel>(Auto::Model);
  plugin.model<MistralForCausalLM>(Auto::ForCausalLM);
  plugin.model<MistralForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MistralForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MistralForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::mistral
