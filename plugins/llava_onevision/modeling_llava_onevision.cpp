// LLaVA-OneVision: Li et al. 2024, https://arxiv.org/abs/2408.03326
// LLaVA-NeXT except: an image of many tiles is reduced to as many features as some tiles have, several images are not
// tiled, and frames of videos are reduced to a quarter. Reference: transformers,
// models/llava_onevision/modeling_llava_onevision.py

#include "../llava_next/modeling_llava_next.h"
#include "configuration_llava_onevision.h"

namespace backplane::llava_onevision {

struct LlavaOnevisionModel : llava_next::TiledModel<LlavaOnevisionConfig> {
  static constexpr std::array<std::string_view, 4> kPromptOnly = {"pixel_values", "image_sizes", "pixel_values_videos",
                                                                  "image_sizes_videos"};
  using TiledModel::TiledModel;

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(llava::kArguments, "pixel_values_videos", "image_sizes_videos",
                                          "vision_aspect_ratio", "batch_num_images");
    return kNames;
  }

  bool in_tiles(const ModelInputs& inputs, int64_t image) const override {
    const Tensor counts = inputs.tensor("batch_num_images");
    if (!counts.defined()) return true;
    for (int64_t i = 0, from = 0; i < counts.numel(); ++i) {
      const auto count = counts[i].item<int64_t>();
      if (image < (from += count)) return count == 1;
    }
    return true;
  }

  Tensor reduced(const Tensor& x) const override {
    const auto most = static_cast<double>(most_tiles(c.vision_aspect_ratio) * side * side);
    const double ratio = std::sqrt(static_cast<double>(x.size(1) * x.size(2)) / most);
    if (ratio <= 1.1) return x;
    const auto smaller = [&](int64_t size) { return static_cast<int64_t>(static_cast<double>(size) / ratio); };
    return at::upsample_bilinear2d(x.unsqueeze(0), {smaller(x.size(1)), smaller(x.size(2))}, false)[0];
  }

  // pixel_values_videos [videos, frames, channels, height, width] -> [all tokens, hidden]; a line's end ends a video
  Tensor video_features(const Tensor& videos, const ModelInputs& inputs) {
    Tensor x = multi_modal_projector(llava::vision_features(*vision_tower, videos.flatten(0, 1), inputs,
                                                            c.vision_feature_layer, c.vision_feature_select_strategy));
    const int64_t half = (side + 1) / 2;
    x = x.reshape({x.size(0), side, side, -1}).permute({0, 3, 1, 2});
    x = at::upsample_bilinear2d(x, {half, half}, false).permute({0, 2, 3, 1}).reshape({videos.size(0), -1, x.size(1)});
    return at::cat({x, image_newline.expand({x.size(0), 1, -1}).to(x.scalar_type())}, 1).flatten(0, 1);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = llava::embedded(inputs, get_input_embeddings()), images, videos;
    const Tensor ids = inputs.tensor("input_ids");
    ModelInputs rest = inputs;
    rest.set("image_sizes", {});
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      images = image_features(pixels, inputs);
      x = scatter_features(x, placeholder_mask(ids, x, get_input_embeddings(), c.image_token_index), images, "image");
    }
    if (const Tensor pixels = inputs.tensor("pixel_values_videos"); pixels.defined()) {
      videos = video_features(pixels, rest);
      x = scatter_features(x, placeholder_mask(ids, x, get_input_embeddings(), c.video_token_index), videos, "video");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", images);
    output.set("video_hidden_states", videos);
    return output;
  }
};

struct LlavaOnevisionForConditionalGeneration : llava::LlavaHead<LlavaOnevisionModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(llava_onevision, plugin) {
  plugin.config<LlavaOnevisionConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "LlavaOnevisionImageProcessor", "LlavaOnevisionImageProcessorFast");
  plugin.preprocessor(Auto::VideoProcessor, "LlavaOnevisionVideoProcessor");
  plugin.preprocessor(Auto::Processor, "LlavaOnevisionProcessor");
  plugin.model<LlavaOnevisionModel>(Auto::Model);
  plugin.model<LlavaOnevisionForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<LlavaOnevisionForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<LlavaOnevisionForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::llava_onevision
