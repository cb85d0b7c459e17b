#pragma once

#include <backplane/model/composite.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/multimodal.h>

#include "configuration_llava.h"

namespace backplane::llava {

// Checkpoints from when the language model, with its head, stood beside the vision tower.
inline const std::vector<std::pair<std::string, std::string>> kLanguageModelOnTop = {
    {R"(^language_model\.model)", "model.language_model"},
    {"^vision_tower", "model.vision_tower"},
    {"^image_tower", "model.image_tower"},
    {"^video_tower", "model.video_tower"},
    {"^multi_modal_projector", "model.multi_modal_projector"},
    {"^image_newline", "model.image_newline"},
    {R"(^language_model\.lm_head)", "lm_head"}};

// Two linear maps from the vision tower's features to the language model's embeddings.
struct LlavaMultiModalProjectorImpl : nn::Module {
  nn::Linear linear_1, linear_2;
  Activation act;

  template <class Config>
  explicit LlavaMultiModalProjectorImpl(const Config& c)
      : LlavaMultiModalProjectorImpl(int_field(*c.vision_config, "hidden_size") * count(c.vision_feature_layer),
                                     int_field(*c.text_config, "hidden_size"), c.projector_hidden_act,
                                     c.multimodal_projector_bias) {}

  LlavaMultiModalProjectorImpl(int64_t in, int64_t out, const std::string& act, bool bias)
      : linear_1(register_module("linear_1", nn::Linear(in, out, bias))),
        linear_2(register_module("linear_2", nn::Linear(out, out, bias))),
        act(activation(act)) {}

  static int64_t count(const Value& layers) { return static_cast<int64_t>(layers.as_int_list().size()); }

  Tensor forward(const Tensor& x) { return linear_2(act(linear_1(x))); }
};
TORCH_MODULE(LlavaMultiModalProjector);

inline constexpr auto kArguments =
    extend(kDecoderArguments, "pixel_values", "image_sizes", "vision_feature_layer", "vision_feature_select_strategy");

// The token embeddings of a call.
inline Tensor embedded(const ModelInputs& inputs, const nn::Embedding& table) {
  const Tensor ids = inputs.tensor("input_ids"), embeds = inputs.tensor("inputs_embeds");
  if (ids.defined() == embeds.defined())
    throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  return ids.defined() ? table->forward(ids) : embeds;
}

// The hidden states of a vision tower that the call, or `layer` and `strategy` of the config, select.
inline Tensor vision_features(PreTrainedModel& tower, const Tensor& pixel_values, const ModelInputs& inputs,
                              const Value& layer, const std::string& strategy) {
  ModelInputs call = {{"pixel_values", pixel_values}, {"output_hidden_states", true}};
  if (const Tensor sizes = inputs.tensor("image_sizes"); sizes.defined()) call.set("image_sizes", sizes);
  const auto output = tower.forward(call.select(tower.arguments()));
  const Argument* given = inputs.find("vision_feature_select_strategy");
  const auto* asked = given ? std::get_if<std::string>(given) : nullptr;
  return select_features(
      output.tuple("hidden_states"),
      inputs.contains("vision_feature_layer") ? Value(inputs.number("vision_feature_layer", 0)) : layer,
      asked ? *asked : strategy);
}

// Any vision tower, a projector and any language model. `Projector` is made from the configuration.
template <class C, class Projector>
struct LlavaModelOf : PreTrainedModel {
  using Config = C;
  static constexpr std::array<std::string_view, 2> kPromptOnly = {"pixel_values", "image_sizes"};

  const C& c;
  std::shared_ptr<PreTrainedModel> vision_tower, language_model;
  Projector multi_modal_projector;

  explicit LlavaModelOf(const C& config)
      : PreTrainedModel(config),
        c(config),
        vision_tower(register_module("vision_tower", make_model(Auto::Model, *c.vision_config))),
        language_model(make_model(Auto::Model, *c.text_config)),
        multi_modal_projector(register_module("multi_modal_projector", Projector(c))) {
    register_module("language_model", language_model);
  }

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  // The embeddings of all images, as image_hidden_states.
  virtual Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) = 0;

  // Those that the config selects, mapped: [images, patches, hidden].
  Tensor projected(const Tensor& pixel_values, const ModelInputs& inputs) {
    return multi_modal_projector(
        vision_features(*vision_tower, pixel_values, inputs, c.vision_feature_layer, c.vision_feature_select_strategy));
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, get_input_embeddings()), features;
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined() && pixels.size(0) > 0) {
      features = image_features(pixels, inputs);
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, features, "image");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", features);
    return output;
  }
};

// The language head over such a model.
template <class Model>
struct LlavaHead : ConditionalGeneration<Model> {
  explicit LlavaHead(const typename Model::Config& c) : ConditionalGeneration<Model>(c, *c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.renames = kLanguageModelOnTop}; }
};

}  // namespace backplane::llava
