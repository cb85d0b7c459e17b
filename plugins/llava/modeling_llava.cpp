// LLaVA: Liu et al. 2023, https://arxiv.org/abs/2304.08485
// The patches of a vision tower, mapped by two linear layers, stand where the prompt has image tokens; any vision tower
// and any language model. Reference: transformers, models/llava/modeling_llava.py

#include "modeling_llava.h"

namespace backplane::llava {

struct LlavaModel : PreTrainedModel {
  using Config = LlavaConfig;
  static constexpr std::array<std::string_view, 1> kPromptOnly = {"pixel_values"};

  const LlavaConfig& c;
  std::shared_ptr<PreTrainedModel> vision_tower, language_model;
  LlavaMultiModalProjector multi_modal_projector;

  explicit LlavaModel(const LlavaConfig& config)
      : PreTrainedModel(config),
        c(config),
        vision_tower(register_module("vision_tower", make_model(Auto::Model, *c.vision_config))),
        language_model(make_model(Auto::Model, *c.text_config)),
        multi_modal_projector(register_module("multi_modal_projector", LlavaMultiModalProjector(c))) {
    register_module("language_model", language_model);
  }

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embedded(inputs, get_input_embeddings()), features;
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      features = multi_modal_projector(vision_features(*vision_tower, pixels, inputs, c)).flatten(0, 1);
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, features, "image");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", features);
    return output;
  }
};

struct LlavaForConditionalGeneration : ConditionalGeneration<LlavaModel> {
  explicit LlavaForConditionalGeneration(const LlavaConfig& c) : ConditionalGeneration(c, *c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.renames = kLanguageModelOnTop}; }
};

BACKPLANE_PLUGIN(llava, plugin) {
  plugin.config<LlavaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "LlavaImageProcessor", "LlavaImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "LlavaProcessor");
  plugin.model<LlavaModel>(Auto::Model);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::llava
