// XLM-RoBERTa: Conneau et al. 2019, https://arxiv.org/abs/1911.02116
// RoBERTa with another vocabulary. Reference: transformers, models/xlm_roberta/modeling_xlm_roberta.py

#include "../roberta/modeling_roberta.h"
#include "configuration_xlm_roberta.h"

namespace backplane::xlm_roberta {

struct XLMRobertaPreTrainedModel : PreTrainedModel {
  using Config = XLMRobertaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roberta"}; }
};

struct XLMRobertaModel : roberta::RobertaModelOf<XLMRobertaPreTrainedModel> {
  using BertModelOf::BertModelOf;
};
struct XLMRobertaForCausalLM : roberta::RobertaNextWordsOf<XLMRobertaPreTrainedModel, XLMRobertaModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;
};
struct XLMRobertaForMaskedLM : roberta::RobertaMaskedWordsOf<XLMRobertaPreTrainedModel, XLMRobertaModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct XLMRobertaForSequenceClassification
    : roberta::RobertaSequenceLabelsOf<XLMRobertaPreTrainedModel, XLMRobertaModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct XLMRobertaForMultipleChoice : roberta::RobertaChoiceOf<XLMRobertaPreTrainedModel, XLMRobertaModel> {
  using RobertaChoiceOf::RobertaChoiceOf;
};
struct XLMRobertaForTokenClassification : TokenLabelHead<XLMRobertaPreTrainedModel, Unpooled<XLMRobertaModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct XLMRobertaForQuestionAnswering : QuestionAnsweringHead<XLMRobertaPreTrainedModel, Unpooled<XLMRobertaModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(xlm_roberta, plugin) {
  plugin.config<XLMRobertaConfig>();
  plugin.tokenizer("XLMRobertaTokenizer", "XLMRobertaTokenizerFast");
  plugin.model<XLMRobertaModel>(Auto::Model);
  plugin.model<XLMRobertaModel>(Auto::ForTextEncoding);
  plugin.model<XLMRobertaForMaskedLM>(Auto::ForPreTraining);
  plugin.model<XLMRobertaForMaskedLM>(Auto::WithLMHead);
  plugin.model<XLMRobertaForCausalLM>(Auto::ForCausalLM);
  plugin.model<XLMRobertaForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<XLMRobertaForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<XLMRobertaForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<XLMRobertaForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<XLMRobertaForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::xlm_roberta
