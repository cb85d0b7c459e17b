#include "modeling_roberta.h"

namespace backplane::roberta {

struct RobertaPreTrainedModel : PreTrainedModel {
  using Config = RobertaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roberta"}; }
};

struct RobertaModel : RobertaModelOf<RobertaPreTrainedModel> {
  using BertModelOf::BertModelOf;
};
struct RobertaForCausalLM : RobertaNextWordsOf<RobertaPreTrainedModel, RobertaModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;
};
struct RobertaForMaskedLM : RobertaMaskedWordsOf<RobertaPreTrainedModel, RobertaModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct RobertaForSequenceClassification : RobertaSequenceLabelsOf<RobertaPreTrainedModel, RobertaModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct RobertaForMultipleChoice : RobertaChoiceOf<RobertaPreTrainedModel, RobertaModel> {
  using RobertaChoiceOf::RobertaChoiceOf;
};
struct RobertaForTokenClassification : TokenLabelHead<RobertaPreTrainedModel, Unpooled<RobertaModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct RobertaForQuestionAnswering : QuestionAnsweringHead<RobertaPreTrainedModel, Unpooled<RobertaModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(roberta, plugin) {
  plugin.config<RobertaConfig>();
  plugin.tokenizer("RobertaTokenizer", "RobertaTokenizerFast");
  plugin.model<RobertaModel>(Auto::Model);
  plugin.model<RobertaModel>(Auto::ForTextEncoding);
  plugin.model<RobertaForMaskedLM>(Auto::ForPreTraining);
  plugin.model<RobertaForMaskedLM>(Auto::WithLMHead);
  plugin.model<RobertaForCausalLM>(Auto::ForCausalLM);
  plugin.model<RobertaForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<RobertaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<RobertaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<RobertaForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<RobertaForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::roberta
