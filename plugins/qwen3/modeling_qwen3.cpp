#include "modeling_qwen3.h"

#include "configuration_qwen3.h"

namespace backplane::qwen3 {

struct Qwen3PreTrainedModel : PreTrainedModel {
  using Config = Qwen3Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Qwen3Model : llama::LlamaModelOf<Qwen3PreTrainedModel, llama::LlamaDecoderLayer<Qwen3Attention, nn::GatedMlp>> {
  using LlamaModelOf::LlamaModelOf;
};

struct Qwen3ForCausalLM : CausalLMHead<Qwen3PreTrainedModel, Qwen3Model> {
  using CausalLMHead::CausalLMHead;
};
struct Qwen3ForSequenceClassification : SequenceClassificationHead<Qwen3PreTrainedModel, Qwen3Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct Qwen3ForTokenClassification : TokenClassificationHead<Qwen3PreTrainedModel, Qwen3Model> {
  using TokenClassificationHead::TokenClassificationHead;
};
struct Qwen3ForQuestionAnswering : QuestionAnsweringHead<Qwen3PreTrainedModel, Qwen3Model> {
  explicit Qwen3ForQuestionAnswering(const Qwen3Config& c) : QuestionAnsweringHead(c, "transformer") {}
};

BACKPLANE_PLUGIN(qwen3, plugin) {
  plugin.config<Qwen3Config>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.model<Qwen3Model>(Auto::Model);
  plugin.model<Qwen3ForCausalLM>(Auto::ForCausalLM);
  plugin.model<Qwen3ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Qwen3ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<Qwen3ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::qwen3
