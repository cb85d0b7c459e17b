#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/config/field_value.h"
#include "backplane/model/pretrained_model.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

// Models made of models.
namespace backplane {

/// The arguments among `names`, for a model inside; whether it returns hidden states and attentions is the whole
/// model's choice.
ModelInputs for_part(const ModelInputs& inputs, std::span<const std::string_view> names,
                     const PretrainedConfig& config);

/// The same for a language model inside that gets embeddings [batch, seq, hidden] for ids.
ModelInputs for_language_model(const ModelInputs& inputs, const PreTrainedModel& language_model,
                               const PretrainedConfig& config, const Tensor& inputs_embeds);

/// Puts the fields of a model inside into `output`, as "<name>.<field>".
void set_part(ModelOutput& output, const std::string& name, const ModelOutput& part);

/// `names` followed by `more`.
std::vector<std::string_view> joined(std::span<const std::string_view> names,
                                     std::initializer_list<std::string_view> more);

/// A vision-language model under "model" with a language head, "lm_head", that its text_config sizes and ties. Every
/// field of the base model's output but the last hidden state is handed through. `Base` has `Config` and
/// `kPromptOnly`, the arguments that only the first step of generation gets.
template <class Base>
struct ConditionalGeneration : PreTrainedModel {
  using Config = typename Base::Config;
  std::shared_ptr<Base> model;
  nn::Linear lm_head;

  explicit ConditionalGeneration(const Config& c, const PretrainedConfig& text_config)
      : PreTrainedModel(c),
        model(register_module("model", std::make_shared<Base>(c))),
        lm_head(register_module(
            "lm_head", nn::Linear(int_field(text_config, "hidden_size"), int_field(text_config, "vocab_size"), false))),
        names_(joined(model->arguments(), {"labels", "logits_to_keep"})),
        tied_(text_config.tie_word_embeddings) {}

  void tie_weights() override {
    if (tied_) lm_head->tie_weight(model->get_input_embeddings()->weight);
  }
  bool can_generate() const override { return true; }
  nn::Embedding get_input_embeddings() override { return model->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return lm_head; }
  std::span<const std::string_view> arguments() const override { return names_; }

  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    if (past == 0) return;
    for (const auto& name : Base::kPromptOnly) inputs.set(std::string(name), {});
  }

  /// Of logits [batch, seq, vocab] and labels [batch, seq]: the next token's.
  virtual Tensor loss(const Tensor& logits, const Tensor& labels, const ModelInputs&) const {
    return causal_lm_loss(logits, labels);
  }

 protected:
  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->forward(inputs.select(model->arguments()));
    Tensor x = base["last_hidden_state"];
    if (const int64_t keep = inputs.number("logits_to_keep", 0); keep > 0) x = x.slice(1, -keep);
    const Tensor logits = lm_head(x), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", loss(logits, labels, inputs));
    output.set("logits", logits);
    for (const auto& [name, value] : base) {
      if (name != "last_hidden_state") output.set(name, value);
    }
    return output;
  }

 private:
  std::vector<std::string_view> names_;
  bool tied_;
};

}  // namespace backplane
