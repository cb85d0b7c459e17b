// Video-LLaVA: Lin et al. 2023, https://arxiv.org/abs/2311.10122
// LLaVA except: images and the frames of videos have a tower each, and frames keep their class token.
// Reference: transformers, models/video_llava/modeling_video_llava.py

#include "../llava/modeling_llava.h"
#include "configuration_video_llava.h"

namespace backplane::video_llava {

struct VideoLlavaModel : PreTrainedModel {
  using Config = VideoLlavaConfig;
  static constexpr std::array<std::string_view, 2> kPromptOnly = {"pixel_values_images", "pixel_values_videos"};

  const VideoLlavaConfig& c;
  std::shared_ptr<PreTrainedModel> video_tower, image_tower, language_model;
  llava::LlavaMultiModalProjector multi_modal_projector;

  explicit VideoLlavaModel(const VideoLlavaConfig& config)
      : PreTrainedModel(config),
        c(config),
        video_tower(register_module("video_tower", make_model(Auto::Model, *c.vision_config))),
        image_tower(register_module("image_tower", make_model(Auto::Model, *c.vision_config))),
        language_model(register_module("language_model", make_model(Auto::Model, *c.text_config))),
        multi_modal_projector(register_module("multi_modal_projector", llava::LlavaMultiModalProjector(c))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "pixel_values_images", "pixel_values_videos",
                                          "vision_feature_layer", "vision_feature_select_strategy");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = llava::embedded(inputs, get_input_embeddings()), images, videos;
    const Tensor ids = inputs.tensor("input_ids");
    if (const Tensor pixels = inputs.tensor("pixel_values_images"); pixels.defined()) {
      images = multi_modal_projector(llava::vision_features(*image_tower, pixels, inputs, c.vision_feature_layer,
                                                            c.vision_feature_select_strategy));
      x = scatter_features(x, placeholder_mask(ids, x, get_input_embeddings(), c.image_token_index), images, "image");
    }
    if (const Tensor pixels = inputs.tensor("pixel_values_videos"); pixels.defined()) {
      ModelInputs whole = inputs;
      whole.set("vision_feature_select_strategy", std::string("full"));
      videos = multi_modal_projector(
          llava::vision_features(*video_tower, pixels.flatten(0, 1), whole, c.vision_feature_layer, "full"));
      x = scatter_features(x, placeholder_mask(ids, x, get_input_embeddings(), c.video_token_index), videos, "video");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", images);
    output.set("video_hidden_states", videos);
    return output;
  }
};

struct VideoLlavaForConditionalGeneration : llava::LlavaHead<VideoLlavaModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(video_llava, plugin) {
  plugin.config<VideoLlavaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::VideoProcessor, "VideoLlavaVideoProcessor");
  plugin.preprocessor(Auto::Processor, "VideoLlavaProcessor");
  plugin.model<VideoLlavaModel>(Auto::Model);
  plugin.model<VideoLlavaForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<VideoLlavaForConditionalGeneration>(Auto::ForVision2Seq);
}

}  // namespace backplane::video_llava
