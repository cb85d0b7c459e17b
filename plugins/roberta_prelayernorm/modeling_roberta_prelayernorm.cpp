// RoBERTa with norms before its blocks, as fairseq trains it: Ott et al. 2019, https://arxiv.org/abs/1904.01038
// RoBERTa except: each block is normed at its input, and the stack at its end.
// Reference: transformers, models/roberta_prelayernorm/modeling_roberta_prelayernorm.py

#include "../roberta/modeling_roberta.h"
#include "configuration_roberta_prelayernorm.h"

namespace backplane::roberta_prelayernorm {

using roberta::RobertaConfig;

// Linear, dropout, residual.
struct RobertaPreLayerNormOutputImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;

  RobertaPreLayerNormOutputImpl(const RobertaConfig& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& residual) { return dropout(dense(x)) + residual; }
};
TORCH_MODULE(RobertaPreLayerNormOutput);

struct RobertaPreLayerNormAttentionImpl : nn::Module {
  bert::BertSelfAttention self;
  RobertaPreLayerNormOutput output;
  nn::LayerNorm LayerNorm;

  RobertaPreLayerNormAttentionImpl(const RobertaConfig& c, size_t layer, bool is_cross)
      : self(register_module("self", bert::BertSelfAttention(c, layer, is_cross))),
        output(register_module("output", RobertaPreLayerNormOutput(c, c.hidden_size))),
        LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(const Tensor& x, TransformerCall& call) { return output(self(LayerNorm(x), call), x); }
};
TORCH_MODULE(RobertaPreLayerNormAttention);

struct RobertaPreLayerNormIntermediateImpl : nn::Module {
  nn::LayerNorm LayerNorm;
  nn::Linear dense;
  Activation act;

  explicit RobertaPreLayerNormIntermediateImpl(const RobertaConfig& c)
      : LayerNorm(register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.intermediate_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(dense(LayerNorm(x))); }
};
TORCH_MODULE(RobertaPreLayerNormIntermediate);

struct RobertaPreLayerNormLayerImpl : nn::Module {
  RobertaPreLayerNormAttention attention, crossattention{nullptr};
  RobertaPreLayerNormIntermediate intermediate;
  RobertaPreLayerNormOutput output;

  RobertaPreLayerNormLayerImpl(const RobertaConfig& c, size_t layer)
      : attention(register_module("attention", RobertaPreLayerNormAttention(c, layer, false))),
        intermediate(register_module("intermediate", RobertaPreLayerNormIntermediate(c))),
        output(register_module("output", RobertaPreLayerNormOutput(c, c.intermediate_size))) {
    if (c.add_cross_attention)
      crossattention = register_module("crossattention", RobertaPreLayerNormAttention(c, layer, true));
  }

  Tensor forward(Tensor x, TransformerCall& call) {
    x = attention(x, call);
    if (call.encoder.defined()) x = crossattention(x, call);
    return output(intermediate(x), x);
  }
};
TORCH_MODULE(RobertaPreLayerNormLayer);

// The norm at the end of the stack comes after the hidden states were taken down.
template <class PreTrained>
struct RobertaPreLayerNormModelOf : roberta::RobertaModelOf<PreTrained, bert::BertEncoder<RobertaPreLayerNormLayer>> {
  using Base = roberta::RobertaModelOf<PreTrained, bert::BertEncoder<RobertaPreLayerNormLayer>>;
  nn::LayerNorm LayerNorm;

  explicit RobertaPreLayerNormModelOf(const RobertaPreLayerNormConfig& c, bool add_pooling_layer = true)
      : Base(c, add_pooling_layer),
        LayerNorm(this->register_module("LayerNorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor finished(const Tensor& x) override { return LayerNorm(x); }
};

struct RobertaPreLayerNormPreTrainedModel : PreTrainedModel {
  using Config = RobertaPreLayerNormConfig;
  using PreTrainedModel::PreTrainedModel;
  static constexpr bool supports_sdpa = false;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "roberta_prelayernorm"}; }
};

struct RobertaPreLayerNormModel : RobertaPreLayerNormModelOf<RobertaPreLayerNormPreTrainedModel> {
  using RobertaPreLayerNormModelOf::RobertaPreLayerNormModelOf;
};
struct RobertaPreLayerNormForCausalLM
    : roberta::RobertaNextWordsOf<RobertaPreLayerNormPreTrainedModel, RobertaPreLayerNormModel> {
  using RobertaNextWordsOf::RobertaNextWordsOf;
};
struct RobertaPreLayerNormForMaskedLM
    : roberta::RobertaMaskedWordsOf<RobertaPreLayerNormPreTrainedModel, RobertaPreLayerNormModel> {
  using RobertaMaskedWordsOf::RobertaMaskedWordsOf;
};
struct RobertaPreLayerNormForSequenceClassification
    : roberta::RobertaSequenceLabelsOf<RobertaPreLayerNormPreTrainedModel, RobertaPreLayerNormModel> {
  using SequenceLabelHead::SequenceLabelHead;
};
struct RobertaPreLayerNormForMultipleChoice
    : roberta::RobertaChoiceOf<RobertaPreLayerNormPreTrainedModel, RobertaPreLayerNormModel> {
  using RobertaChoiceOf::RobertaChoiceOf;
};
struct RobertaPreLayerNormForTokenClassification
    : TokenLabelHead<RobertaPreLayerNormPreTrainedModel, Unpooled<RobertaPreLayerNormModel>> {
  using TokenLabelHead::TokenLabelHead;
};
struct RobertaPreLayerNormForQuestionAnswering
    : QuestionAnsweringHead<RobertaPreLayerNormPreTrainedModel, Unpooled<RobertaPreLayerNormModel>> {
  using QuestionAnsweringHead::QuestionAnsweringHead;
};

BACKPLANE_PLUGIN(roberta_prelayernorm, plugin) {
  plugin.config<RobertaPreLayerNormConfig>();
  plugin.tokenizer("RobertaTokenizer", "RobertaTokenizerFast");
  plugin.model<RobertaPreLayerNormModel>(Auto::Model);
  plugin.model<RobertaPreLayerNormModel>(Auto::ForTextEncoding);
  plugin.model<RobertaPreLayerNormForMaskedLM>(Auto::ForPreTraining);
  plugin.model<RobertaPreLayerNormForMaskedLM>(Auto::WithLMHead);
  plugin.model<RobertaPreLayerNormForCausalLM>(Auto::ForCausalLM);
  plugin.model<RobertaPreLayerNormForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<RobertaPreLayerNormForSequenceClassification>(Auto::ForSequenceClassification);
  plugin.model<RobertaPreLayerNormForQuestionAnswering>(Auto::ForQuestionAnswering);
  plugin.model<RobertaPreLayerNormForTokenClassification>(Auto::ForTokenClassification);
  plugin.model<RobertaPreLayerNormForMultipleChoice>(Auto::ForMultipleChoice);
}

}  // namespace backplane::roberta_prelayernorm
