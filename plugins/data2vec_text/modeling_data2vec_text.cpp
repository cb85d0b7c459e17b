// data2vec, text: Baevski et al. 2022, https://arxiv.org/abs/2202.03555
// RoBERTa pre-trained in another way. Reference: transformers, models/data2vec/modeling_data2vec_text.py

#include "../roberta/modeling_roberta.h"
#include "configuration_data2vec_text.h"

namespace backplane::data2vec_text {

struct Data2VecTextPreTrainedModel : PreTrainedModel {
  using Config = Data2VecTextConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "data2vec_text"}; }
};

struct Data2VecTextModel : roberta::RobertaModelOf<Data2VecTextPreTrainedModel> {
  using BertModelOf::BertModelOf;
};
struct Data2VecTextForCausalLM : roberta::RobertaNextWordsOf<Data2VecTextPreTrainedModel, Data2VecTextModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;
};
struct Data2VecTextForMaskedLM : roberta::RobertaMaskedWordsOf<Data2VecTextPreTrainedModel, Data2VecTextModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct Data2VecTextForSequenceClassification
    : roberta::RobertaSequenceLabelsOf<Data2VecTextPreTrainedModel, Data2VecTextModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct Data2VecTextForMultipleChoice : roberta::RobertaChoiceOf<Data2VecTextPreTrainedModel, Data2VecTextModel> {
  using RobertaChoiceOf::RobertaChoiceOf;
};
struct Data2VecTextForTokenClassification : TokenLabelHead<Data2VecTextPreTrainedModel, Unpooled<Data2VecTextModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct Data2VecTextForQuestionAnswering
    : QuestionAnsweringHead<Data2VecTextPreTrainedModel, Unpooled<Data2VecTextModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(data2vec_text, plugin) {
  plugin.config<Data2VecTextConfig>();
  plugin.tokenizer("RobertaTokenizer", "RobertaTokenizerFast");
  plugin.model<Data2VecTextModel>(Auto::Model);
  plugin.model<Data2VecTextModel>(Auto::ForTextEncoding);
  plugin.model<Data2VecTextForMaskedLM>(Auto::ForPreTraining);
  plugin.model<Data2VecTextForMaskedLM>(Auto::WithLMHead);
  plugin.model<Data2VecTextForCausalLM>(Auto::ForCausalLM);
  plugin.model<Data2VecTextForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<Data2VecTextForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<Data2VecTextForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<Data2VecTextForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<Data2VecTextForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::data2vec_text
