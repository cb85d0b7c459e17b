#pragma once

#include "../bert/modeling_bert.h"

// What the DeBERTa models share beside BERT's linear parts.
namespace backplane::deberta_v2 {

// The first token through a linear map and an activation.
struct ContextPoolerImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;
  Activation act;

  template <class Config>
  explicit ContextPoolerImpl(const Config& c)
      : dense(register_module("dense", nn::Linear(*c.pooler_hidden_size, *c.pooler_hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.pooler_dropout))),
        act(activation(c.pooler_hidden_act)) {}

  // x [batch, seq, hidden] -> [batch, hidden]
  Tensor forward(const Tensor& x) { return act(dense(dropout(x.select(1, 0).contiguous()))); }
};
TORCH_MODULE(ContextPooler);

// Without problem_type: regression for one label; labels below 0 are left out; labels [batch, labels] are
// probabilities. `logits` become [batch] for one label.
inline Tensor sequence_loss(Tensor& logits, const Tensor& labels, const PretrainedConfig& config) {
  if (config.problem_type) return classification_loss(logits, labels, config);
  if (config.num_labels() == 1) {
    logits = logits.view({-1}).to(labels.scalar_type());
    return at::mse_loss(logits, labels.view({-1}));
  }
  if (labels.dim() > 1 && labels.size(-1) != 1) return -(at::log_softmax(logits, -1) * labels).sum(-1).mean();
  const Tensor flat = labels.view({-1}).to(at::kLong);
  if (!(flat >= 0).any().item<bool>()) return at::zeros({}, logits.options());
  return cross_entropy(logits, flat.masked_fill(flat < 0, -100));
}

template <class Config>
double cls_dropout(const Config& c) {
  return c.cls_dropout.value_or(c.hidden_dropout_prob);
}

template <class PreTrained, class Model>
struct SequenceLabelsOf : LinearHead<PreTrained, Model> {
  ContextPooler pooler;

  explicit SequenceLabelsOf(const typename PreTrained::Config& c)
      : LinearHead<PreTrained, Model>(c, c.num_labels(), cls_dropout(c)),
        pooler(this->register_module("pooler", ContextPooler(c))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    Tensor logits = this->scores(pooler(base["last_hidden_state"]));
    const Tensor labels = inputs.tensor("labels");
    const Tensor loss = labels.defined() ? sequence_loss(logits, labels, this->config()) : Tensor();
    return head_output(loss, logits, base);
  }
};

}  // namespace backplane::deberta_v2
