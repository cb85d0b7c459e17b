// XLM-RoBERTa-XL: Goyal et al. 2021, https://arxiv.org/abs/2105.00572
// RoBERTa except: norms stand before attention and feed-forward part, and at the end of the stack, none at the
// embeddings. Reference: transformers, models/xlm_roberta_xl/modeling_xlm_roberta_xl.py

#include "../roberta/modeling_roberta.h"
#include "configuration_xlm_roberta_xl.h"

namespace backplane::xlm_roberta_xl {

struct XLMRobertaXLEmbeddingsImpl : nn::Module {
  bool absolute;
  int64_t padding;
  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::Dropout dropout;

  explicit XLMRobertaXLEmbeddingsImpl(const XLMRobertaXLConfig& c)
      : absolute(c.position_embedding_type == "absolute"),
        padding(roberta::padding_id(c)),
        word_embeddings(register_module("word_embeddings", nn::Embedding(c.vocab_size, c.hidden_size, padding))),
        position_embeddings(
            register_module("position_embeddings", nn::Embedding(c.max_position_embeddings, c.hidden_size, padding))),
        token_type_embeddings(
            register_module("token_type_embeddings", nn::Embedding(c.type_vocab_size, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = (ids.defined() ? word_embeddings(ids) : inputs["inputs_embeds"]) +
               token_type_embeddings(bert::token_types(inputs));
    if (absolute) x = x + position_embeddings(roberta::positions_after_padding(inputs, call, padding));
    return dropout(x);
  }
};
TORCH_MODULE(XLMRobertaXLEmbeddings);

// A linear map and the residual: after attention and after the feed-forward part.
struct XLMRobertaXLOutputImpl : nn::Module {
  nn::Linear dense;

  XLMRobertaXLOutputImpl(const XLMRobertaXLConfig& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return dense(x) + residual; }
};
TORCH_MODULE(XLMRobertaXLOutput);

struct XLMRobertaXLAttentionImpl : nn::Module {
  nn::LayerNorm self_attn_layer_norm;
  bert::BertSelfAttention self;
  XLMRobertaXLOutput output;
  nn::Dropout dropout;

  XLMRobertaXLAttentionImpl(const XLMRobertaXLConfig& c, size_t layer, bool is_cross)
      : self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        self(register_module("self", bert::BertSelfAttention(c, layer, is_cross))),
        output(register_module("output", XLMRobertaXLOutput(c, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) {
    return dropout(output->dense(self(self_attn_layer_norm(x), call))) + x;
  }
};
TORCH_MODULE(XLMRobertaXLAttention);

struct XLMRobertaXLLayerImpl : nn::Module {
  XLMRobertaXLAttention attention, crossattention{nullptr};
  bert::BertIntermediate intermediate;
  XLMRobertaXLOutput output;
  nn::LayerNorm LayerNorm;

  XLMRobertaXLLayerImpl(const XLMRobertaXLConfig& c, size_t layer)
      : attention(register_module("attention", XLMRobertaXLAttention(c, layer, false))),
        intermediate(register_module("intermediate", bert::BertIntermediate(c))),
        output(register_module("output", XLMRobertaXLOutput(c, c.intermediate_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (c.add_cross_attention)
      crossattention = register_module("crossattention", XLMRobertaXLAttention(c, layer, true));
  }

  Tensor forward(Tensor x, TransformerCall& call) {
    x = attention(x, call);
    if (call.encoder.defined()) x = crossattention(x, call);
    return output(intermediate(LayerNorm(x)), x);
  }
};
TORCH_MODULE(XLMRobertaXLLayer);

struct XLMRobertaXLEncoderImpl : nn::Module {
  nn::Layers<XLMRobertaXLLayer> layer;
  nn::LayerNorm LayerNorm;

  explicit XLMRobertaXLEncoderImpl(const XLMRobertaXLConfig& c)
      : layer(register_module(
            "layer", nn::Layers<XLMRobertaXLLayer>(c.num_hidden_layers,
                                                   [&](int64_t i) { return XLMRobertaXLLayer(c, size_t(i)); }))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(Tensor x, TransformerCall& call) {
    for (auto& one : *layer) {
      call.see(x);
      x = one(x, call);
    }
    x = LayerNorm(x);
    call.see(x);
    return x;
  }
};
TORCH_MODULE(XLMRobertaXLEncoder);

struct XLMRobertaXLPreTrainedModel : PreTrainedModel {
  using Config = XLMRobertaXLConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roberta"}; }
};

struct XLMRobertaXLModel : bert::BertModelOf<XLMRobertaXLPreTrainedModel, XLMRobertaXLEmbeddings, XLMRobertaXLEncoder> {
  using BertModelOf::BertModelOf;
};
struct XLMRobertaXLForCausalLM : roberta::RobertaNextWordsOf<XLMRobertaXLPreTrainedModel, XLMRobertaXLModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;

  // Unlike its siblings it counts as forward does: after padding.
  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    inputs.set("position_ids", Tensor());
    const Tensor mask = inputs.tensor("attention_mask");
    if (past > 0 && mask.defined())
      inputs.set("position_ids", mask.to(at::kLong).cumsum(1).slice(1, past) + roberta::padding_id(config()));
  }
};
struct XLMRobertaXLForMaskedLM : roberta::RobertaMaskedWordsOf<XLMRobertaXLPreTrainedModel, XLMRobertaXLModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct XLMRobertaXLForSequenceClassification
    : roberta::RobertaSequenceLabelsOf<XLMRobertaXLPreTrainedModel, XLMRobertaXLModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct XLMRobertaXLForMultipleChoice : roberta::RobertaChoiceOf<XLMRobertaXLPreTrainedModel, XLMRobertaXLModel> {
  using RobertaChoiceOf::RobertaChoiceOf;
};
struct XLMRobertaXLForTokenClassification : TokenLabelHead<XLMRobertaXLPreTrainedModel, Unpooled<XLMRobertaXLModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct XLMRobertaXLForQuestionAnswering
    : QuestionAnsweringHead<XLMRobertaXLPreTrainedModel, Unpooled<XLMRobertaXLModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(xlm_roberta_xl, plugin) {
  plugin.config<XLMRobertaXLConfig>();
  plugin.tokenizer("XLMRobertaTokenizer", "XLMRobertaTokenizerFast");
  plugin.model<XLMRobertaXLModel>(Auto::Model);
  plugin.model<XLMRobertaXLModel>(Auto::ForTextEncoding);
  plugin.model<XLMRobertaXLForMaskedLM>(Auto::ForPreTraining);
  plugin.model<XLMRobertaXLForMaskedLM>(Auto::WithLMHead);
  plugin.model<XLMRobertaXLForCausalLM>(Auto::ForCausalLM);
  plugin.model<XLMRobertaXLForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<XLMRobertaXLForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<XLMRobertaXLForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<XLMRobertaXLForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<XLMRobertaXLForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::xlm_roberta_xl
