#include "modeling_bert.h"

namespace backplane::bert {

struct BertPreTrainedModel : PreTrainedModel {
  using Config = BertConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "bert"}; }
};

struct BertModel : BertModelOf<BertPreTrainedModel, BertEmbeddings, BertEncoder<BertLayer>> {
  using BertModelOf::BertModelOf;
};
struct BertForPreTraining : BertPreTrainingOf<BertPreTrainedModel, BertModel> {
  using BertPreTrainingOf::BertPreTrainingOf;
};
struct BertLMHeadModel : BertNextWordsOf<BertPreTrainedModel, BertModel> {
  using BertNextWordsOf::BertNextWordsOf;
};
struct BertForMaskedLM : BertMaskedWordsOf<BertPreTrainedModel, BertModel> {
  using BertMaskedWordsOf::BertMaskedWordsOf;
};
struct BertForNextSentencePrediction : BertNextSentenceOf<BertPreTrainedModel, BertModel> {
  using BertNextSentenceOf::BertNextSentenceOf;
};
struct BertForSequenceClassification : PooledLabelHead<BertPreTrainedModel, BertModel> {
  using PooledLabelHead::PooledLabelHead;
};
struct BertForMultipleChoice : ChoiceHead<BertPreTrainedModel, BertModel> {
  using ChoiceHead::ChoiceHead;
};
struct BertForTokenClassification : TokenLabelHead<BertPreTrainedModel, Unpooled<BertModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct BertForQuestionAnswering : QuestionAnsweringHead<BertPreTrainedModel, Unpooled<BertModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(bert, plugin) {
  plugin.config<BertConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.model<BertModel>(Auto::Model);
  plugin.model<BertModel>(Auto::ForTextEncoding);
  plugin.model<BertForPreTraining>(Auto::ForPreTraining);
  plugin.model<BertForMaskedLM>(Auto::WithLMHead);
  plugin.model<BertLMHeadModel>(Auto::ForCausalLM);
  plugin.model<BertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<BertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<BertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<BertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<BertForMultipleChoice>(Auto::ForMultipleChoice);
  plugin.model<BertForNextSentencePrediction>(Auto::ForNextSentencePrediction);
}

}  // namespace backplane::bert
