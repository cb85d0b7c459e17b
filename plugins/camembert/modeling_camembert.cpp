// CamemBERT: Martin et al. 2019, https://arxiv.org/abs/1911.03894
// RoBERTa with another vocabulary. Reference: transformers, models/camembert/modeling_camembert.py

#include "../roberta/modeling_roberta.h"
#include "configuration_camembert.h"

namespace backplane::camembert {

struct CamembertPreTrainedModel : PreTrainedModel {
  using Config = CamembertConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roberta"}; }
};

struct CamembertModel : roberta::RobertaModelOf<CamembertPreTrainedModel> {
  using BertModelOf::BertModelOf;
};
struct CamembertForCausalLM : roberta::RobertaNextWordsOf<CamembertPreTrainedModel, CamembertModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;
};
struct CamembertForMaskedLM : roberta::RobertaMaskedWordsOf<CamembertPreTrainedModel, CamembertModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct CamembertForSequenceClassification : roberta::RobertaSequenceLabelsOf<CamembertPreTrainedModel, CamembertModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct CamembertForMultipleChoice : roberta::RobertaChoiceOf<CamembertPreTrainedModel, CamembertModel> {
  using RobertaChoiceOf::RobertaChoiceOf;
};
struct CamembertForTokenClassification : TokenLabelHead<CamembertPreTrainedModel, Unpooled<CamembertModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct CamembertForQuestionAnswering : QuestionAnsweringHead<CamembertPreTrainedModel, Unpooled<CamembertModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(camembert, plugin) {
  plugin.config<CamembertConfig>();
  plugin.tokenizer("CamembertTokenizer", "CamembertTokenizerFast");
  plugin.model<CamembertModel>(Auto::Model);
  plugin.model<CamembertForMaskedLM>(Auto::ForPreTraining);
  plugin.model<CamembertForMaskedLM>(Auto::WithLMHead);
  plugin.model<CamembertForCausalLM>(Auto::ForCausalLM);
  plugin.model<CamembertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<CamembertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<CamembertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<CamembertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<CamembertForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::camembert
