#include "modeling_gpt2.h"

namespace backplane::gpt2 {

struct GPT2PreTrainedModel : PreTrainedModel {
  using Config = GPT2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    // Old checkpoints hold the causal masks.
    return {.base_model_prefix = "transformer", .ignore_unexpected = {R"(attn\.(masked_)?bias$)"}};
  }
};

struct GPT2Model : GPT2ModelOf<GPT2PreTrainedModel> {
  using GPT2ModelOf::GPT2ModelOf;
};
struct GPT2LMHeadModel : CausalLMHead<GPT2PreTrainedModel, GPT2Model> {
  explicit GPT2LMHeadModel(const GPT2Config& c) : CausalLMHead(c) {}
};
struct GPT2ForSequenceClassification : SequenceClassificationHead<GPT2PreTrainedModel, GPT2Model> {
  using SequenceClassificationHead::SequenceClassificationHead;
};
struct GPT2ForTokenClassification : TokenLabelHead<GPT2PreTrainedModel, GPT2Model> {
  explicit GPT2ForTokenClassification(const GPT2Config& c) : TokenLabelHead(c, dropout_of(c)) {}

  // Keys that the configuration does not know, but looks for.
  static double dropout_of(const GPT2Config& c) {
    for (const char* key : {"classifier_dropout", "hidden_dropout"}) {
      if (const Value* p = c.find_extra(key); p && !p->is_null()) return p->as_double();
    }
    return 0.1;
  }
};
struct GPT2ForQuestionAnswering : QuestionAnsweringHead<GPT2PreTrainedModel, GPT2Model> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(gpt2, plugin) {
  plugin.config<GPT2Config>("gpt-sw3");
  plugin.tokenizer("GPTSw3Tokenizer", "");
  plugin.model<GPT2Model>(Auto::Model);
  plugin.model<GPT2LMHeadModel>(Auto::ForPreTraining);
  plugin.model<GPT2LMHeadModel>(Auto::WithLMHead);
  plugin.model<GPT2LMHeadModel>(Auto::ForCausalLM);
  plugin.model<GPT2ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GPT2ForTokenClassification>(Auto::ForTokenClassification);
  plugin.config<GPT2Config>();
  plugin.tokenizer("GPT2Tokenizer", "GPT2TokenizerFast");
  plugin.model<GPT2Model>(Auto::Model);
  plugin.model<GPT2LMHeadModel>(Auto::ForPreTraining);
  plugin.model<GPT2LMHeadModel>(Auto::WithLMHead);
  plugin.model<GPT2LMHeadModel>(Auto::ForCausalLM);
  plugin.model<GPT2ForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<GPT2ForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<GPT2ForTokenClassification>(Auto::ForTokenClassification);
}

}  // namespace backplane::gpt2
