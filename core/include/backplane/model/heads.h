#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/model/pretrained_model.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

// The heads that most decoder-only models share: `struct MistralForCausalLM : CausalLMHead<MistralPreTrainedModel,
// MistralModel> { using CausalLMHead::CausalLMHead; };`. The configuration has hidden_size and vocab_size; the base
// model gives `last_hidden_state` [batch, seq, hidden] and overrides `get_input_embeddings`.
namespace backplane {

/// Width of `last_hidden_state`: output_size() of a configuration that has it, else hidden_size, which may be an
/// accessor of a key with another name.
template <class Config>
int64_t hidden_size_of(const Config& c) {
  if constexpr (requires { c.output_size(); }) {
    return c.output_size();
  } else if constexpr (requires { c.hidden_size(); }) {
    return c.hidden_size();
  } else {
    return c.hidden_size;
  }
}

/// A model with `base` inside, under base_model_prefix or the name given; forward takes what the base takes, and more.
template <class PreTrained, class Model>
struct ModelWithBase : PreTrained {
  using Config = typename PreTrained::Config;

  ModelWithBase(const Config& config, std::initializer_list<std::string_view> more, std::string name = "")
      : PreTrained(config), name_(name.empty() ? PreTrained::checkpoint_rules().base_model_prefix : std::move(name)) {
    base = this->register_module(name_, std::make_shared<Model>(config));
    const auto names = base->arguments();
    arguments_.assign(names.begin(), names.end());
    arguments_.insert(arguments_.end(), more);
  }

  CheckpointRules checkpoint_rules() const override {
    CheckpointRules rules = PreTrained::checkpoint_rules();
    rules.base_model_prefix = name_;
    return rules;
  }
  std::span<const std::string_view> arguments() const override { return arguments_; }
  nn::Embedding get_input_embeddings() override { return base->get_input_embeddings(); }

  ModelOutput run_base(const ModelInputs& inputs) { return base->forward(inputs.select(base->arguments())); }

  std::shared_ptr<Model> base;

 private:
  std::string name_;
  std::vector<std::string_view> arguments_;
};

struct CausalLMHeadOptions {
  bool with_bias = false;
  std::string name = "lm_head";
};

/// Next-token scores by a linear map, tied to the embeddings where tie_word_embeddings says so.
template <class PreTrained, class Model>
struct CausalLMHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  nn::Linear lm_head;

  explicit CausalLMHead(const Config& c, const CausalLMHeadOptions& options = {})
      : ModelWithBase<PreTrained, Model>(c, {"labels", "logits_to_keep"}),
        lm_head(this->register_module(options.name, nn::Linear(hidden_size_of(c), c.vocab_size, options.with_bias))) {}

  void tie_weights() override {
    if (this->config().tie_word_embeddings) lm_head->tie_weight(this->get_input_embeddings()->weight);
  }
  bool can_generate() const override { return true; }
  nn::Linear get_output_embeddings() override { return lm_head; }

  /// x [batch, seq, hidden] -> [batch, seq, vocab]; what a model does to its scores goes in an override.
  virtual Tensor scores(const Tensor& x) { return lm_head(x); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = scores(kept_positions(base["last_hidden_state"], inputs)), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", causal_lm_loss(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }

  /// logits_to_keep: the last so many positions (0: all), or those that a tensor lists.
  static Tensor kept_positions(const Tensor& x, const ModelInputs& inputs) {
    const Argument* keep = inputs.find("logits_to_keep");
    if (keep && std::holds_alternative<Tensor>(*keep)) return x.index_select(1, std::get<Tensor>(*keep));
    const int64_t count = inputs.number("logits_to_keep", 0);
    return count > 0 ? x.slice(1, -count) : x;
  }
};

/// The scores of the last token of each row that is no padding.
template <class PreTrained, class Model>
struct SequenceClassificationHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  nn::Linear score;

  explicit SequenceClassificationHead(const Config& c)
      : ModelWithBase<PreTrained, Model>(c, {"labels"}),
        score(this->register_module("score", nn::Linear(hidden_size_of(c), c.num_labels(), false))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor last = last_tokens(base["last_hidden_state"], inputs.tensor("input_ids"), this->config().pad_token_id);
    const Tensor logits = score(last), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", classification_loss(logits, labels, this->config()));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

template <class PreTrained, class Model>
struct TokenClassificationHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  nn::Dropout dropout;
  nn::Linear score;

  explicit TokenClassificationHead(const Config& c)
      : ModelWithBase<PreTrained, Model>(c, {"labels"}),
        dropout(this->register_module("dropout", nn::Dropout(classifier_dropout(c)))),
        score(this->register_module("score", nn::Linear(hidden_size_of(c), c.num_labels()))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = score(dropout(base["last_hidden_state"])), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", cross_entropy(logits, labels));
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }

  /// The first of classifier_dropout and hidden_dropout that the configuration sets.
  static double classifier_dropout(const Config& c) {
    if constexpr (requires { std::optional<double>(c.classifier_dropout); }) {
      if (const std::optional<double> p = c.classifier_dropout) return *p;
    }
    if constexpr (requires { std::optional<double>(c.hidden_dropout); }) {
      if (const std::optional<double> p = c.hidden_dropout) return *p;
    }
    return 0.1;
  }
};

/// Scores of each token as the start and as the end of the answer. The older of these classes call their base model
/// `transformer`, in checkpoints too.
template <class PreTrained, class Model>
struct QuestionAnsweringHead : ModelWithBase<PreTrained, Model> {
  using Config = typename PreTrained::Config;
  nn::Linear qa_outputs;

  explicit QuestionAnsweringHead(const Config& c, std::string base_name = "")
      : ModelWithBase<PreTrained, Model>(c, {"start_positions", "end_positions"}, std::move(base_name)),
        qa_outputs(this->register_module("qa_outputs", nn::Linear(hidden_size_of(c), 2))) {}

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = this->run_base(inputs);
    const Tensor logits = qa_outputs(base["last_hidden_state"]);
    const Tensor start = logits.select(-1, 0).contiguous(), end = logits.select(-1, 1).contiguous();
    const Tensor from = inputs.tensor("start_positions"), to = inputs.tensor("end_positions");
    ModelOutput output;
    if (from.defined() && to.defined()) output.set("loss", span_loss(start, end, from, to));
    output.set("start_logits", start);
    output.set("end_logits", end);
    output.pass_on(base);
    return output;
  }
};

}  // namespace backplane
