// MPNet: Song et al. 2020, https://arxiv.org/abs/2004.09297
// RoBERTa without token types, and with T5's biases of distances, one table for all layers.
// Reference: transformers, models/mpnet/modeling_mpnet.py

#include <backplane/nn/relative_bias.h>

#include "../roberta/modeling_roberta.h"
#include "configuration_mpnet.h"

namespace backplane::mpnet {

// Whatever pad_token_id says.
constexpr int64_t kPadding = 1;

struct MPNetEmbeddingsImpl : nn::Module {
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  explicit MPNetEmbeddingsImpl(const MPNetConfig& c)
      : word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, kPadding))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.hidden_size, kPadding))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor ids = inputs.tensor("input_ids");
    const Tensor x = ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"];
    return dropout(LayerNorm(x + position_embeddings(roberta::positions_after_padding(inputs, call, kPadding))));
  }
};
TORCH_MODULE(MPNetEmbeddings);

struct MPNetSelfAttentionImpl : nn::Module {
  int64_t heads;
  size_t layer;
  double dropout;
  nn::Linear q, k, v, o;

  MPNetSelfAttentionImpl(const MPNetConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        layer(layer),
        dropout(c.attention_probs_dropout_prob),
        q(register_module("q", nn::Linear(c.hidden_size, c.hidden_size))),
        k(register_module("k", nn::Linear(c.hidden_size, c.hidden_size))),
        v(register_module("v", nn::Linear(c.hidden_size, c.hidden_size))),
        o(register_module("o", nn::Linear(c.hidden_size, c.hidden_size))) {}

  // x [batch, seq, hidden], bias [1, heads, seq, seq] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Tensor& bias, TransformerCall& call) {
    return o(
        merge_heads(call.attend(layer, split_heads(q(x), heads), split_heads(k(x), heads), split_heads(v(x), heads),
                                {.mask = bias, .dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(MPNetSelfAttention);

struct MPNetAttentionImpl : nn::Module {
  MPNetSelfAttention attn;
  nn::LayerNorm LayerNorm;
  nn::Dropout dropout;

  MPNetAttentionImpl(const MPNetConfig& c, size_t layer)
      : attn(register_module("attn", MPNetSelfAttention(c, layer))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& bias, TransformerCall& call) {
    return LayerNorm(dropout(attn(x, bias, call)) + x);
  }
};
TORCH_MODULE(MPNetAttention);

struct MPNetLayerImpl : nn::Module {
  MPNetAttention attention;
  bert::BertIntermediate intermediate;
  bert::BertOutput output;

  MPNetLayerImpl(const MPNetConfig& c, size_t layer)
      : attention(register_module("attention", MPNetAttention(c, layer))),
        intermediate(register_module("intermediate", bert::BertIntermediate(c))),
        output(register_module("output", bert::BertOutput(c, c.intermediate_size))) {}

  Tensor forward(Tensor x, const Tensor& bias, TransformerCall& call) {
    x = attention(x, bias, call);
    return output(intermediate(x), x);
  }
};
TORCH_MODULE(MPNetLayer);

struct MPNetEncoderImpl : nn::Module {
  nn::Layers<MPNetLayer> layer;
  nn::Embedding relative_attention_bias;

  explicit MPNetEncoderImpl(const MPNetConfig& c)
      : layer(register_module(
            "layer", nn::Layers<MPNetLayer>(c.num_hidden_layers,
                                            [&](int64_t i) { return MPNetLayer(c, static_cast<size_t>(i)); }))),
        relative_attention_bias(register_module(
            "relative_attention_bias", nn::Embedding(c.relative_attention_num_buckets, c.num_attention_heads))) {}

  // The reference puts distances into 32 buckets up to 128, whatever the size of the table.
  Tensor forward(Tensor x, TransformerCall& call) {
    const Tensor ids = at::arange(call.seq, at::kLong);
    const Tensor buckets = nn::relative_position_bucket(ids.unsqueeze(0) - ids.unsqueeze(1), true, 32, 128);
    const Tensor bias = relative_attention_bias(buckets).permute({2, 0, 1}).unsqueeze(0).contiguous();
    for (auto& one : *layer) {
      call.see(x);
      x = one(x, bias, call);
    }
    call.see(x);
    return x;
  }
};
TORCH_MODULE(MPNetEncoder);

struct MPNetPreTrainedModel : PreTrainedModel {
  using Config = MPNetConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "mpnet"}; }
};

struct MPNetModel : bert::BertModelOf<MPNetPreTrainedModel, MPNetEmbeddings, MPNetEncoder> {
  using BertModelOf::BertModelOf;
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 7> kArguments = {
        "input_ids",     "attention_mask",    "position_ids",        "head_mask",
        "inputs_embeds", "output_attentions", "output_hidden_states"};
    return kArguments;
  }
};
struct MPNetForMaskedLM : roberta::RobertaMaskedWordsOf<MPNetPreTrainedModel, MPNetModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct MPNetForSequenceClassification : roberta::RobertaSequenceLabelsOf<MPNetPreTrainedModel, MPNetModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct MPNetForMultipleChoice : ChoiceHead<MPNetPreTrainedModel, MPNetModel> {
  using ChoiceHead::ChoiceHead;
};
struct MPNetForTokenClassification : TokenLabelHead<MPNetPreTrainedModel, Unpooled<MPNetModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct MPNetForQuestionAnswering : QuestionAnsweringHead<MPNetPreTrainedModel, Unpooled<MPNetModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(mpnet, plugin) {
  plugin.config<MPNetConfig>();
  plugin.tokenizer("MPNetTokenizer", "MPNetTokenizerFast");
  plugin.model<MPNetModel>(Auto::Model);
  plugin.model<MPNetForMaskedLM>(Auto::ForPreTraining);
  plugin.model<MPNetForMaskedLM>(Auto::WithLMHead);
  plugin.model<MPNetForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<MPNetForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<MPNetForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<MPNetForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<MPNetForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::mpnet
