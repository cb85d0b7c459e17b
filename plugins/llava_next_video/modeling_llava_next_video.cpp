// LLaVA-NeXT-Video: Zhang et al. 2024, https://llava-vl.github.io/blog/2024-04-30-llava-next-video
// LLaVA-NeXT except: frames of videos are pooled over space, and not tiled.
// Reference: transformers, models/llava_next_video/modeling_llava_next_video.py

#include "../llava_next/modeling_llava_next.h"
#include "configuration_llava_next_video.h"

namespace backplane::llava_next_video {

struct LlavaNextVideoPoolerImpl : nn::Module {
  std::string mode;
  int64_t stride;
  nn::Conv2d pool{nullptr};

  explicit LlavaNextVideoPoolerImpl(const LlavaNextVideoConfig& c)
      : mode(c.spatial_pool_mode), stride(c.spatial_pool_stride) {
    if (mode != "conv") return;
    const int64_t hidden = int_field(*c.vision_config, "hidden_size");
    const Value* out = c.find_extra("spatial_pool_out_channels");
    pool = register_module("pool", nn::Conv2d(hidden, out ? out->as_int() : hidden, stride,
                                              nn::ConvOptions<2>{.stride = nn::extent<2>(stride)}));
  }

  // x [frames, side^2, dim] -> [frames, (side / stride)^2, dim]
  Tensor forward(const Tensor& x) {
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    if (side * side != x.size(1))
      throw Error(ErrorCode::invalid_value, concat("a frame has ", x.size(1), " patches; expected a square"));
    const Tensor grid = x.reshape({x.size(0), side, side, -1}).permute({0, 3, 1, 2});
    const Tensor pooled = mode == "average" ? at::avg_pool2d(grid, {stride, stride}, {stride, stride})
                          : mode == "max"   ? at::max_pool2d(grid, {stride, stride}, {stride, stride})
                                            : pool(grid);
    return pooled.flatten(2).transpose(1, 2);
  }
};
TORCH_MODULE(LlavaNextVideoPooler);

struct LlavaNextVideoModel : llava_next::TiledModel<LlavaNextVideoConfig> {
  static constexpr std::array<std::string_view, 3> kPromptOnly = {"pixel_values", "image_sizes", "pixel_values_videos"};
  LlavaNextVideoPooler vision_resampler;

  explicit LlavaNextVideoModel(const LlavaNextVideoConfig& config)
      : TiledModel(config), vision_resampler(register_module("vision_resampler", LlavaNextVideoPooler(config))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(llava::kArguments, "pixel_values_videos");
    return kNames;
  }

  // pixel_values_videos [videos, frames, channels, height, width] -> [all tokens, hidden]
  Tensor video_features(const Tensor& videos, const ModelInputs& inputs) {
    const Tensor frames = llava::vision_features(*vision_tower, videos.flatten(0, 1), inputs, c.vision_feature_layer,
                                                 c.vision_feature_select_strategy);
    return multi_modal_projector(vision_resampler(frames)).flatten(0, 1);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = llava::embedded(inputs, get_input_embeddings()), images, videos;
    const Tensor ids = inputs.tensor("input_ids");
    ModelInputs rest = inputs;
    rest.set("image_sizes", {});
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined() && pixels.size(0) > 0) {
      images = image_features(pixels, inputs);
      x = scatter_features(x, placeholder_mask(ids, x, get_input_embeddings(), c.image_token_index), images, "image");
    }
    if (const Tensor pixels = inputs.tensor("pixel_values_videos"); pixels.defined() && pixels.size(0) > 0) {
      videos = video_features(pixels, rest);
      x = scatter_features(x, placeholder_mask(ids, x, get_input_embeddings(), c.video_token_index), videos, "video");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", images);
    output.set("video_hidden_states", videos);
    return output;
  }
};

struct LlavaNextVideoForConditionalGeneration : llava::LlavaHead<LlavaNextVideoModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(llava_next_video, plugin) {
  plugin.config<LlavaNextVideoConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "LlavaNextVideoImageProcessor");
  plugin.preprocessor(Auto::VideoProcessor, "LlavaNextVideoVideoProcessor");
  plugin.preprocessor(Auto::Processor, "LlavaNextVideoProcessor");
  plugin.model<LlavaNextVideoModel>(Auto::Model);
  plugin.model<LlavaNextVideoForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<LlavaNextVideoForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<LlavaNextVideoForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::llava_next_video
