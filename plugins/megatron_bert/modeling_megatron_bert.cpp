// Megatron-BERT: Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053
// Megatron-BERT is BERT except: norms stand before attention and feed-forward part, and at the end of the stack, none
// at the embeddings. Reference: transformers, models/megatron_bert/modeling_megatron_bert.py

#include "../bert/modeling_bert.h"
#include "configuration_megatron_bert.h"

namespace backplane::megatron_bert {

struct MegatronBertEmbeddingsImpl : nn::Module {
  bool absolute;
  int64_t max_positions;
  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::Dropout dropout;

  explicit MegatronBertEmbeddingsImpl(const MegatronBertConfig& c)
      : absolute(c.position_embedding_type == "absolute"),
        max_positions(c.max_position_embeddings),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        position_embeddings(register_module("position_embeddings", nn::Embedding(max_positions, c.hidden_size))),
        token_type_embeddings(
            register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = (ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"]) +
               token_type_embeddings(bert::token_types(inputs));
    if (absolute) x = x + position_embeddings(bert::counted_positions(inputs, call, max_positions));
    return dropout(x);
  }
};
TORCH_MODULE(MegatronBertEmbeddings);

// Linear, dropout, residual.
struct MegatronBertOutputImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;

  MegatronBertOutputImpl(const MegatronBertConfig& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return residual + dropout(dense(x)); }
};
TORCH_MODULE(MegatronBertOutput);

struct MegatronBertAttentionImpl : nn::Module {
  nn::LayerNorm ln;
  bert::BertSelfAttention self;
  MegatronBertOutput output;

  MegatronBertAttentionImpl(const MegatronBertConfig& c, size_t layer, bool is_cross)
      : ln(register_module("ln", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        self(register_module("self", bert::BertSelfAttention(c, layer, is_cross, c.position_embedding_type))),
        output(register_module("output", MegatronBertOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) { return output(self(ln(x), call), x); }
};
TORCH_MODULE(MegatronBertAttention);

struct MegatronBertLayerImpl : nn::Module {
  MegatronBertAttention attention, crossattention{nullptr};
  nn::LayerNorm ln;
  bert::BertIntermediate intermediate;
  MegatronBertOutput output;

  MegatronBertLayerImpl(const MegatronBertConfig& c, size_t layer)
      : attention(register_module("attention", MegatronBertAttention(c, layer, false))),
        ln(register_module("ln", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        intermediate(register_module("intermediate", bert::BertIntermediate(c))),
        output(register_module("output", MegatronBertOutput(c, c.intermediate_size))) {
    if (c.add_cross_attention)
      crossattention = register_module("crossattention", MegatronBertAttention(c, layer, true));
  }

  Tensor forward(Tensor x, TransformerCall& call) {
    x = attention(x, call);
    if (call.encoder.defined()) x = crossattention(x, call);
    return output(intermediate(ln(x)), x);
  }
};
TORCH_MODULE(MegatronBertLayer);

struct MegatronBertEncoderImpl : nn::Module {
  nn::Layers<MegatronBertLayer> layer;
  nn::LayerNorm ln;

  explicit MegatronBertEncoderImpl(const MegatronBertConfig& c)
      : layer(register_module("layer", nn::Layers<MegatronBertLayer>(
                                           c.num_hidden_layers,
                                           [&](int64_t i) { return MegatronBertLayer(c, static_cast<size_t>(i)); }))),
        ln(register_module("ln", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    for (auto& one : *layer) {
      call.see(x);
      x = one(x, call);
    }
    x = ln(x);
    call.see(x);
    return x;
  }
};
TORCH_MODULE(MegatronBertEncoder);

struct MegatronBertPreTrainedModel : PreTrainedModel {
  using Config = MegatronBertConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "bert"}; }
};

struct MegatronBertModel : bert::BertModelOf<MegatronBertPreTrainedModel, MegatronBertEmbeddings, MegatronBertEncoder> {
  using BertModelOf::BertModelOf;
};
struct MegatronBertForPreTraining : bert::BertPreTrainingOf<MegatronBertPreTrainedModel, MegatronBertModel> {
  using BertPreTrainingOf::BertPreTrainingOf;
};
struct MegatronBertForCausalLM : bert::BertNextWordsOf<MegatronBertPreTrainedModel, MegatronBertModel> {
  using BertNextWordsOf::BertNextWordsOf;
};
struct MegatronBertForMaskedLM : bert::BertMaskedWordsOf<MegatronBertPreTrainedModel, MegatronBertModel> {
  using BertMaskedWordsOf::BertMaskedWordsOf;
};
struct MegatronBertForNextSentencePrediction
    : bert::BertNextSentenceOf<MegatronBertPreTrainedModel, MegatronBertModel> {
  using BertNextSentenceOf::BertNextSentenceOf;
};
struct MegatronBertForSequenceClassification : PooledLabelHead<MegatronBertPreTrainedModel, MegatronBertModel> {
  using PooledLabelHead::PooledLabelHead;
};
struct MegatronBertForMultipleChoice : ChoiceHead<MegatronBertPreTrainedModel, MegatronBertModel> {
  using ChoiceHead::ChoiceHead;
};
struct MegatronBertForTokenClassification : TokenLabelHead<MegatronBertPreTrainedModel, Unpooled<MegatronBertModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct MegatronBertForQuestionAnswering
    : QuestionAnsweringHead<MegatronBertPreTrainedModel, Unpooled<MegatronBertModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(megatron_bert, plugin) {
  plugin.config<MegatronBertConfig>();
  plugin.tokenizer("BertTokenizer", "BertTokenizerFast");
  plugin.model<MegatronBertModel>(Auto::Model);
  plugin.model<MegatronBertForPreTraining>(Auto::ForPreTraining);
  plugin.model<MegatronBertForCausalLM>(Auto::WithLMHead);
  plugin.model<MegatronBertForCausalLM>(Auto::ForCausalLM);
  plugin.model<MegatronBertForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<MegatronBertForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MegatronBertForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MegatronBertForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<MegatronBertForMultipleChoice>(Auto::ForMultipleChoice);
  plugin.model<MegatronBertForNextSentencePrediction>(Auto::ForNextSentencePrediction);
}

}  // namespace backplane::megatron_bert
