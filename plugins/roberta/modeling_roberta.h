#pragma once

#include "../bert/modeling_bert.h"
#include "configuration_roberta.h"

// RoBERTa: Liu et al. 2019, https://arxiv.org/abs/1907.11692
// RoBERTa is BERT except: positions are counted from pad_token_id + 1 over what is no padding; the head over words is
// one map with a norm; labels of a sequence come from its first token. Reference: transformers,
// models/roberta/modeling_roberta.py
namespace backplane::roberta {

// Positions from padding + 1 on; padding itself has the position `padding`. [batch or 1, seq]
inline Tensor positions_after_padding(const ModelInputs& inputs, const TransformerCall& call, int64_t padding) {
  if (const Tensor given = inputs.tensor("position_ids"); given.defined()) return given;
  const Tensor ids = inputs.tensor("input_ids");
  if (!ids.defined()) return at::arange(padding + 1, padding + 1 + call.seq, at::kLong).unsqueeze(0);
  const Tensor counts = ids != padding;
  return (counts.cumsum(1) + call.past) * counts + padding;
}

inline int64_t padding_id(const PretrainedConfig& c) {
  if (c.pad_token_id) return *c.pad_token_id;
  throw Error(ErrorCode::bad_config, "config.json: pad_token_id is null; positions are counted from it");
}

struct RobertaEmbeddingsImpl : bert::BertEmbeddingsImpl {
  int64_t padding;

  explicit RobertaEmbeddingsImpl(const bert::BertConfig& c) : BertEmbeddingsImpl(c), padding(padding_id(c)) {}

  // -> [batch, seq, hidden]
  Tensor forward(const ModelInputs& inputs, const TransformerCall& call) {
    Tensor x = words(inputs) + token_type_embeddings(bert::token_types(inputs));
    if (absolute) x = x + position_embeddings(positions_after_padding(inputs, call, padding));
    return dropout(LayerNorm(x));
  }
};
TORCH_MODULE(RobertaEmbeddings);

template <class PreTrained, class Encoder = bert::BertEncoder<bert::BertLayer>>
using RobertaModelOf = bert::BertModelOf<PreTrained, RobertaEmbeddings, Encoder>;

struct RobertaLMHeadImpl : nn::Module {
  Tensor bias;
  nn::Linear dense, decoder;
  nn::LayerNorm layer_norm;

  template <class Config>
  explicit RobertaLMHeadImpl(const Config& c)
      : bias(register_parameter("bias", at::empty({c.vocab_size}))),
        dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        decoder(register_module("decoder", nn::Linear(c.hidden_size, c.vocab_size))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    decoder->tie_bias(bias);
  }

  nn::Linear output_embeddings() { return decoder; }

  // x [batch, seq, hidden] -> [batch, seq, vocab]
  Tensor forward(const Tensor& x) { return decoder(layer_norm(at::gelu(dense(x)))); }
};
TORCH_MODULE(RobertaLMHead);

struct RobertaClassificationHeadImpl : nn::Module {
  nn::Linear dense, out_proj;
  nn::Dropout dropout;

  template <class Config>
  explicit RobertaClassificationHeadImpl(const Config& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.num_labels()))),
        dropout(register_module("dropout", nn::Dropout(classifier_dropout(c)))) {}

  // x [batch, seq, hidden] -> [batch, labels], from the first token
  Tensor forward(const Tensor& x) { return out_proj(dropout(at::tanh(dense(dropout(x.select(1, 0).contiguous()))))); }
};
TORCH_MODULE(RobertaClassificationHead);

template <class PreTrained, class Model, class Head = RobertaLMHead>
struct RobertaMaskedWordsOf : MaskedWordsHead<PreTrained, Unpooled<Model>, Head> {
  explicit RobertaMaskedWordsOf(const typename PreTrained::Config& c)
      : MaskedWordsHead<PreTrained, Unpooled<Model>, Head>(c, "lm_head") {}
};

template <class PreTrained, class Model, class Head = RobertaLMHead>
struct RobertaNextWordsOf : NextWordsHead<PreTrained, Unpooled<Model>, Head> {
  explicit RobertaNextWordsOf(const typename PreTrained::Config& c)
      : NextWordsHead<PreTrained, Unpooled<Model>, Head>(c, "lm_head") {}

  // Generation counts from 0, as the reference's does for all models that take position_ids.
  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    if (inputs.contains("position_ids")) return;
    inputs.set("position_ids", at::arange(past, past + inputs["input_ids"].size(1), at::kLong).unsqueeze(0));
  }
};

template <class PreTrained, class Model>
using RobertaSequenceLabelsOf = SequenceLabelHead<PreTrained, Unpooled<Model>, RobertaClassificationHead>;

template <class PreTrained, class Model>
struct RobertaChoiceOf : ChoiceHead<PreTrained, Model> {
  explicit RobertaChoiceOf(const typename PreTrained::Config& c)
      : ChoiceHead<PreTrained, Model>(c, c.hidden_dropout_prob) {}
};

}  // namespace backplane::roberta
