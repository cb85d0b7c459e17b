// ERNIE 1.0, 2.0 and 3.0: Sun et al. 2019, https://arxiv.org/abs/1904.09223, https://arxiv.org/abs/1907.12412
// ERNIE is BERT except: embeddings of the task may be added (use_task_id).
// Reference: transformers, models/ernie/modeling_ernie.py

#include "../bert/modeling_bert.h"
#include "configuration_ernie.h"

namespace backplane::ernie {

struct ErnieEmbeddingsImpl : bert::BertEmbeddingsImpl {
  nn::Embedding task_type_embeddings{nullptr};

  explicit ErnieEmbeddingsImpl(const ErnieConfig& c) : BertEmbeddingsImpl(c) {
    if (c.use_task_id) {
      task_type_embeddings =
          register_module("task_type_embeddings", nn::Embedding(c.task_type_vocab_size, c.hidden_size));
    }
  }

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    Tensor x = sum(inputs, call);
    if (task_type_embeddings) {
      Tensor tasks = inputs.tensor("task_type_ids");
      if (!tasks.defined()) tasks = at::zeros({1, 1}, at::kLong);
      x = x + task_type_embeddings(tasks);
    }
    return dropout(LayerNorm(x));
  }
};
TORCH_MODULE(ErnieEmbeddings);

struct ErniePreTrainedModel : PreTrainedModel {
  using Config = ErnieConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "ernie"}; }
};

struct ErnieModel : bert::BertModelOf<ErniePreTrainedModel, ErnieEmbeddings, bert::BertEncoder<bert::BertLayer>> {
  using BertModelOf::BertModelOf;
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kTransformerArguments, "task_type_ids");
    return kArguments;
  }
};
struct ErnieForPreTraining : bert::BertPreTrainingOf<ErniePreTrainedModel, ErnieModel> {
  using BertPreTrainingOf::BertPreTrainingOf;
};
struct ErnieForCausalLM : bert::BertNextWordsOf<ErniePreTrainedModel, ErnieModel> {
  using BertNextWordsOf::BertNextWordsOf;
};
struct ErnieForMaskedLM : bert::BertMaskedWordsOf<ErniePreTrainedModel, ErnieModel> {
  using BertMaskedWordsOf::BertMaskedWordsOf;
};
struct ErnieForNextSentencePrediction : bert::BertNextSentenceOf<ErniePreTrainedModel, ErnieModel> {
  using BertNextSentenceOf::BertNextSentenceOf;
};
struct ErnieForSequenceClassification : PooledLabelHead<ErniePreTrainedModel, ErnieModel> {
  using PooledLabelHead::PooledLabelHead;
};
struct ErnieForMultipleChoice : ChoiceHead<ErniePreTrainedModel, ErnieModel> {
  using ChoiceHead::ChoiceHead;
};
struct ErnieForTokenClassification : TokenLabelHead<ErniePreTrainedModel, Unpooled<ErnieModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct ErnieForQuestionAnswering : QuestionAnsweringHead<ErniePreTrainedModel, Unpooled<ErnieModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(ernie, plugin) {
  plugin.config<ErnieConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.model<ErnieModel>(Auto::Model);
  plugin.model<ErnieForPreTraining>(Auto::ForPreTraining);
  plugin.model<ErnieForMaskedLM>(Auto::WithLMHead);
  plugin.model<ErnieForCausalLM>(Auto::ForCausalLM);
  plugin.model<ErnieForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<ErnieForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<ErnieForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<ErnieForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<ErnieForMultipleChoice>(Auto::ForMultipleChoice);
  plugin.model<ErnieForNextSentencePrediction>(Auto::ForNextSentencePrediction);
}

}  // namespace backplane::ernie
