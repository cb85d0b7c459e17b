#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backplane/model/heads.h"

// The heads that encoders over tokens share, beside <backplane/model/heads.h>. `struct BertForTokenClassification :
// TokenLabelHead<BertPreTrainedModel, Unpooled<BertModel>> { using TokenLabelHead::TokenLabelHead; };`. The base model
// gives `last_hidden_state` [batch, seq, hidden] and, for some, `pooler_output` [batch, hidden].
namespace backplane {

/// A base model without its pooler: its constructor takes (config, add_pooling_layer).
template <class Model>
struct Unpooled : Model {
  explicit Unpooled(const typename Model::Config& c) : Model(c, false) {}
};

/// classifier_dropout of a configuration; hidden_dropout_prob where it is null or absent.
template <class Config>
double classifier_dropout(const Config& c) {
  if constexpr (requires { c.classifier_dropout.has_value(); }) {
    return c.classifier_dropout.value_or(c.hidden_dropout_prob);
  } else {
    return c.hidden_dropout_prob;
  }
}

/// What a head makes of its logits: loss, where there is one, logits, and what the base model hands through.
inline ModelOutput head_output(const Tensor& loss, const Tensor& logits, const ModelOutput& base) {
  ModelOutput output;
  output.set("loss", loss);
  output.set("logits", logits);
  output.pass_on(base);
  return output;
}

/// Words by `Head`, a module that maps [batch, seq, hidden] to [batch, seq, vocab], is made from the configuration and
/// has `output_embeddings()`, the linear map at its end, which is tied to the embeddings.
template <class PreTrained, class Model, class Head>
struct WordsHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  Head head;

  WordsHead(const Config& c, const char* name, std::initializer_list<std::string_view> more = {"labels"})
      : ModelWithBase<PreTrained, Model>(c, more), head(this->register_module(name, Head(c))) {}

  nn::Embedding get_input_embeddings() override { return this->base->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return head->output_embeddings(); }
  void tie_weights() override {
    if (this->config().tie_word_embeddings) get_output_embeddings()->tie_weight(get_input_embeddings()->weight);
  }
};

/// Scores of the words behind masks.
template <class PreTrained, class Model, class Head>
struct MaskedWordsHead : WordsHead<PreTrained, Model, Head> {
  using WordsHead<PreTrained, Model, Head>::WordsHead;

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = this->head(base["last_hidden_state"]), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, base);
  }
};

/// Scores of the next word, of an encoder that runs as a decoder. Labels switch the cache off.
template <class PreTrained, class Model, class Head>
struct NextWordsHead : WordsHead<PreTrained, Model, Head> {
  using WordsHead<PreTrained, Model, Head>::WordsHead;
  bool can_generate() const override { return true; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor labels = inputs.tensor("labels");
    ModelInputs base_inputs = inputs.select(this->base->arguments());
    if (labels.defined()) base_inputs.set("use_cache", false);
    const auto base = this->base->forward(base_inputs);
    const Tensor logits = this->head(base["last_hidden_state"]);
    return head_output(labels.defined() ? causal_lm_loss(logits, labels) : Tensor(), logits, base);
  }
};

/// Labels of a sequence by `Head`, a module under the name `classifier` that maps [batch, seq, hidden] to [batch,
/// labels] and is made from the configuration.
template <class PreTrained, class Model, class Head>
struct SequenceLabelHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  Head classifier;

  explicit SequenceLabelHead(const Config& c)
      : ModelWithBase<PreTrained, Model>(c, {"labels"}), classifier(this->register_module("classifier", Head(c))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = classifier(base["last_hidden_state"]), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? classification_loss(logits, labels, this->config()) : Tensor(), logits, base);
  }
};

/// Dropout and a linear map under the name `classifier`.
template <class PreTrained, class Model>
struct LinearHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  nn::Dropout dropout;
  nn::Linear classifier;

  LinearHead(const Config& c, int64_t labels, double p)
      : ModelWithBase<PreTrained, Model>(c, {"labels"}),
        dropout(this->register_module("dropout", nn::Dropout(p))),
        classifier(this->register_module("classifier", nn::Linear(hidden_size_of(c), labels))) {}

  Tensor scores(const Tensor& x) { return classifier(dropout(x)); }
};

/// Labels of a sequence, from the pooled output.
template <class PreTrained, class Model>
struct PooledLabelHead : LinearHead<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  explicit PooledLabelHead(const Config& c) : PooledLabelHead(c, classifier_dropout(c)) {}
  PooledLabelHead(const Config& c, double dropout) : LinearHead<PreTrained, Model>(c, c.num_labels(), dropout) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = this->scores(base["pooler_output"]), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? classification_loss(logits, labels, this->config()) : Tensor(), logits, base);
  }
};

/// A label of each token.
template <class PreTrained, class Model>
struct TokenLabelHead : LinearHead<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  explicit TokenLabelHead(const Config& c) : TokenLabelHead(c, classifier_dropout(c)) {}
  TokenLabelHead(const Config& c, double dropout) : LinearHead<PreTrained, Model>(c, c.num_labels(), dropout) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = this->scores(base["last_hidden_state"]), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, base);
  }
};

/// The arguments of a call over choices, [batch, choices, seq, …] -> [batch * choices, seq, …]: each choice is a
/// sequence of its own. head_mask stays.
ModelInputs flatten_choices(const ModelInputs& inputs);
/// Scores [batch * choices, 1] -> [batch, choices], by the number of choices in `inputs`.
Tensor unflatten_choices(const Tensor& scores, const ModelInputs& inputs);

/// Which of some sequences fits, from the pooled output of each.
template <class PreTrained, class Model>
struct ChoiceHead : LinearHead<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  explicit ChoiceHead(const Config& c) : ChoiceHead(c, classifier_dropout(c)) {}
  ChoiceHead(const Config& c, double dropout) : LinearHead<PreTrained, Model>(c, 1, dropout) {}

  /// The output of the base model that stands for a sequence, [batch * choices, hidden].
  virtual Tensor summary(const ModelOutput& base) { return base["pooler_output"]; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->base->forward(flatten_choices(inputs.select(this->base->arguments())));
    const Tensor logits = unflatten_choices(this->scores(summary(base)), inputs), labels = inputs.tensor("labels");
    return head_output(labels.defined() ? cross_entropy(logits, labels) : Tensor(), logits, base);
  }
};

}  // namespace backplane
