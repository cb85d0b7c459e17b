#pragma once

#include <backplane/model/composite.h>
#include <backplane/nn/multimodal.h>

#include "configuration_llava.h"

namespace backplane::llava {

// Checkpoints from when the language model, with its head, stood beside the vision tower.
inline const std::vector<std::pair<std::string, std::string>> kLanguageModelOnTop = {
    {R"(^language_model\.model)", "model.language_model"},
    {"^vision_tower", "model.vision_tower"},
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

inline constexpr std::array<std::string_view, 8> kTextArguments = {
    "input_ids",       "inputs_embeds", "attention_mask", "position_ids",
    "past_key_values", "use_cache",     "cache_position", "output_attentions"};
inline constexpr auto kArguments = extend(kTextArguments, "output_hidden_states", "pixel_values", "image_sizes",
                                          "vision_feature_layer", "vision_feature_select_strategy");

// The token embeddings of a call.
inline Tensor embedded(const ModelInputs& inputs, const nn::Embedding& table) {
  const Tensor ids = inputs.tensor("input_ids"), embeds = inputs.tensor("inputs_embeds");
  if (ids.defined() == embeds.defined())
    throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
  return ids.defined() ? table->forward(ids) : embeds;
}

// The hidden states of the vision tower that the call or the config selects.
template <class Config>
Tensor vision_features(PreTrainedModel& tower, const Tensor& pixel_values, const ModelInputs& inputs, const Config& c) {
  ModelInputs call = {{"pixel_values", pixel_values}, {"output_hidden_states", true}};
  if (const Tensor sizes = inputs.tensor("image_sizes"); sizes.defined()) call.set("image_sizes", sizes);
  const auto output = tower.forward(call.select(tower.arguments()));
  const Argument* given = inputs.find("vision_feature_select_strategy");
  const auto* strategy = given ? std::get_if<std::string>(given) : nullptr;
  const Value layer = inputs.contains("vision_feature_layer") ? Value(inputs.number("vision_feature_layer", 0))
                                                              : c.vision_feature_layer;
  return select_features(output.tuple("hidden_states"), layer, strategy ? *strategy : c.vision_feature_select_strategy);
}

}  // namespace backplane::llava
