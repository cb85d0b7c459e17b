// CLIP: Radford et al. 2021, https://arxiv.org/abs/2103.00020
// A causal text transformer and a vision transformer, both pre-norm, projected to one space and compared by cosine.
// Reference: transformers, models/clip/modeling_clip.py

#include "modeling_clip.h"

namespace backplane::clip {

template <class C>
struct CLIPPreTrainedModel : PreTrainedModel {
  using Config = C;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "clip"}; }
};

struct CLIPTextModel : CLIPPreTrainedModel<CLIPTextConfig> {
  CLIPTextTransformer text_model;

  explicit CLIPTextModel(const CLIPTextConfig& c)
      : CLIPPreTrainedModel(c), text_model(register_module("text_model", CLIPTextTransformer(c))) {}

  nn::Embedding get_input_embeddings() override { return text_model->embeddings->token_embedding; }
  std::span<const std::string_view> arguments() const override { return kTextArguments; }
  ModelOutput compute(const ModelInputs& inputs) override { return text_model(inputs); }
};

struct CLIPVisionModel : CLIPPreTrainedModel<CLIPVisionConfig> {
  CLIPVisionTransformer vision_model;

  explicit CLIPVisionModel(const CLIPVisionConfig& c)
      : CLIPPreTrainedModel(c), vision_model(register_module("vision_model", CLIPVisionTransformer(c))) {}

  std::span<const std::string_view> arguments() const override { return kVisionArguments; }
  ModelOutput compute(const ModelInputs& inputs) override { return vision_model(inputs); }
};

struct CLIPModel : CLIPModelOf<CLIPConfig, CLIPTextTransformer, CLIPVisionTransformer> {
  using CLIPModelOf::CLIPModelOf;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "clip"}; }
  nn::Embedding get_input_embeddings() override { return text_model->embeddings->token_embedding; }
};

// A linear map of the mean of all patches.
struct CLIPForImageClassification : CLIPPreTrainedModel<CLIPConfig> {
  CLIPVisionTransformer vision_model;
  nn::Linear classifier{nullptr};

  explicit CLIPForImageClassification(const CLIPConfig& c)
      : CLIPPreTrainedModel(c), vision_model(register_module("vision_model", CLIPVisionTransformer(c.vision_config))) {
    if (c.num_labels() > 0) {
      classifier = register_module("classifier", nn::Linear(c.vision_config.hidden_size, c.num_labels()));
    }
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 4> kNames = {"pixel_values", "labels", "output_attentions",
                                                               "output_hidden_states"};
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, kVisionArguments, config()));
    Tensor logits = vision["last_hidden_state"].slice(1, 1).mean(1);
    if (classifier) logits = classifier(logits);
    ModelOutput output;
    if (const Tensor labels = inputs.tensor("labels"); labels.defined()) {
      output.set("loss", classification_loss(logits, labels, config()));
    }
    output.set("logits", logits);
    output.pass_on(vision);
    return output;
  }
};

BACKPLANE_PLUGIN(clip, plugin) {
  plugin.config<CLIPTextConfig>();
  plugin.model<CLIPTextModel>(Auto::Model);
  plugin.model<CLIPTextModel>(Auto::ForTextEncoding);
  plugin.config<CLIPVisionConfig>();
  plugin.model<CLIPVisionModel>(Auto::Model);
  plugin.config<CLIPConfig>();
  plugin.tokenizer("CLIPTokenizer", "CLIPTokenizerFast");
  plugin.preprocessor(Auto::FeatureExtractor, "CLIPFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "CLIPImageProcessor", "CLIPImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "CLIPProcessor");
  plugin.model<CLIPModel>(Auto::Model);
  plugin.model<CLIPForImageClassification>(Auto::ForImageClassification);
  plugin.model<CLIPModel>(Auto::ForZeroShotImageClassification);
}

}  // namespace backplane::clip
