// RemBERT: Chung et al. 2020, https://arxiv.org/abs/2010.12821
// RemBERT is BERT except: embeddings of the input are smaller than the states and mapped to them, those of the output
// are larger, and the two are not tied. Reference: transformers, models/rembert/modeling_rembert.py

#include "../bert/modeling_bert.h"
#include "configuration_rembert.h"

namespace backplane::rembert {

struct RemBertEmbeddingsImpl : bert::BertEmbeddingsImpl {
  explicit RemBertEmbeddingsImpl(const RemBertConfig& c) : BertEmbeddingsImpl(c, c.input_embedding_size) {}
};
TORCH_MODULE(RemBertEmbeddings);

struct RemBertEncoderImpl : bert::BertEncoderImpl<bert::BertLayer> {
  nn::Linear embedding_hidden_mapping_in;

  explicit RemBertEncoderImpl(const RemBertConfig& c)
      : BertEncoderImpl(c),
        embedding_hidden_mapping_in(
            register_module("embedding_hidden_mapping_in", nn::Linear(c.input_embedding_size, c.hidden_size))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) {
    return BertEncoderImpl::forward(embedding_hidden_mapping_in(x), call);
  }
};
TORCH_MODULE(RemBertEncoder);

struct RemBertLMPredictionHeadImpl : nn::Module {
  nn::Linear dense, decoder;
  nn::LayerNorm LayerNorm;
  Activation act;

  explicit RemBertLMPredictionHeadImpl(const RemBertConfig& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.output_embedding_size))),
        decoder(register_module("decoder", nn::Linear(c.output_embedding_size, c.vocab_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.output_embedding_size, c.layer_norm_eps))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return decoder(LayerNorm(act(dense(x)))); }
};
TORCH_MODULE(RemBertLMPredictionHead);

struct RemBertOnlyMLMHeadImpl : nn::Module {
  RemBertLMPredictionHead predictions;

  explicit RemBertOnlyMLMHeadImpl(const RemBertConfig& c)
      : predictions(register_module("predictions", RemBertLMPredictionHead(c))) {}

  nn::Linear output_embeddings() { return predictions->decoder; }
  Tensor forward(const Tensor& x) { return predictions(x); }
};
TORCH_MODULE(RemBertOnlyMLMHead);

struct RemBertPreTrainedModel : PreTrainedModel {
  using Config = RemBertConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "rembert"}; }
};

struct RemBertModel : bert::BertModelOf<RemBertPreTrainedModel, RemBertEmbeddings, RemBertEncoder> {
  using BertModelOf::BertModelOf;
};
struct RemBertForMaskedLM : MaskedWordsHead<RemBertPreTrainedModel, Unpooled<RemBertModel>, RemBertOnlyMLMHead> {
  explicit RemBertForMaskedLM(const RemBertConfig& c) : MaskedWordsHead(c, "cls") {}
};
struct RemBertForCausalLM : NextWordsHead<RemBertPreTrainedModel, Unpooled<RemBertModel>, RemBertOnlyMLMHead> {
  explicit RemBertForCausalLM(const RemBertConfig& c) : NextWordsHead(c, "cls") {}
};
struct RemBertForSequenceClassification : PooledLabelHead<RemBertPreTrainedModel, RemBertModel> {
  explicit RemBertForSequenceClassification(const RemBertConfig& c) : PooledLabelHead(c, c.classifier_dropout_prob) {}
};
struct RemBertForMultipleChoice : ChoiceHead<RemBertPreTrainedModel, RemBertModel> {
  explicit RemBertForMultipleChoice(const RemBertConfig& c) : ChoiceHead(c, c.classifier_dropout_prob) {}
};
struct RemBertForTokenClassification : TokenLabelHead<RemBertPreTrainedModel, Unpooled<RemBertModel>> {
  explicit RemBertForTokenClassification(const RemBertConfig& c) : TokenLabelHead(c, c.classifier_dropout_prob) {}
};
struct RemBertForQuestionAnswering : QuestionAnsweringHead<RemBertPreTrainedModel, Unpooled<RemBertModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(rembert, plugin) {
  plugin.config<RemBertConfig>();
  plugin.tokenizer("RemBertTokenizer", "RemBertTokenizerFast");
  plugin.model<RemBertModel>(Auto::Model);
  plugin.model<RemBertModel>(Auto::ForTextEncoding);
  plugin.model<RemBertForMaskedLM>(Auto::WithLMHead);
  plugin.model<RemBertForCausalLM>(Auto::ForCausalLM);
  plugin.model<RemBertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<RemBertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<RemBertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<RemBertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<RemBertForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::rembert
