// Mistral Small 3.1, https://mistral.ai/news/mistral-small-3-1
// LLaVA over Pixtral's tower except: features are normalised, and blocks of patches merged, before they are mapped.
// Reference: transformers, models/mistral3/modeling_mistral3.py

#include "../llava/modeling_llava.h"
#include "configuration_mistral3.h"

namespace backplane::mistral3 {

struct Mistral3PatchMergerImpl : nn::Module {
  int64_t merge, patch_size;
  nn::Linear merging_layer;

  explicit Mistral3PatchMergerImpl(const Mistral3Config& c)
      : Mistral3PatchMergerImpl(c, int_field(*c.vision_config, "hidden_size")) {}

  Mistral3PatchMergerImpl(const Mistral3Config& c, int64_t hidden)
      : merge(c.spatial_merge_size),
        patch_size(int_field(*c.vision_config, "patch_size")),
        merging_layer(register_module("merging_layer", nn::Linear(hidden * merge * merge, hidden, false))) {}

  // x [all patches, hidden], image_sizes [images, 2] in pixels -> [all blocks, hidden]
  Tensor forward(const Tensor& x, const Tensor& image_sizes) {
    std::vector<Tensor> blocks;
    int64_t from = 0;
    for (int64_t i = 0; i < image_sizes.size(0); ++i) {
      const int64_t height = image_sizes[i][0].item<int64_t>() / patch_size,
                    width = image_sizes[i][1].item<int64_t>() / patch_size;
      if (height < merge || width < merge || from + height * width > x.size(0)) {
        throw Error(ErrorCode::invalid_value, concat("image_sizes say ", height, " x ", width, " patches; of ",
                                                     x.size(0), " there are ", x.size(0) - from, " left"));
      }
      const Tensor grid = x.slice(0, from, from + height * width).view({height, width, -1}).permute({2, 0, 1});
      blocks.push_back(at::im2col(grid.unsqueeze(0), {merge, merge}, {1, 1}, {0, 0}, {merge, merge})[0].t());
      from += height * width;
    }
    return merging_layer(at::cat(blocks));
  }
};
TORCH_MODULE(Mistral3PatchMerger);

struct Mistral3MultiModalProjectorImpl : nn::Module {
  nn::RMSNorm norm;
  Mistral3PatchMerger patch_merger;
  nn::Linear linear_1, linear_2;
  Activation act;

  explicit Mistral3MultiModalProjectorImpl(const Mistral3Config& c)
      : Mistral3MultiModalProjectorImpl(c, int_field(*c.vision_config, "hidden_size"),
                                        int_field(*c.text_config, "hidden_size")) {}

  Mistral3MultiModalProjectorImpl(const Mistral3Config& c, int64_t in, int64_t out)
      : norm(register_module("norm", nn::RMSNorm(in, field_value(*c.text_config, "rms_norm_eps").as_double()))),
        patch_merger(register_module("patch_merger", Mistral3PatchMerger(c))),
        linear_1(register_module(
            "linear_1", nn::Linear(in * llava::LlavaMultiModalProjectorImpl::count(c.vision_feature_layer), out,
                                   c.multimodal_projector_bias))),
        linear_2(register_module("linear_2", nn::Linear(out, out, c.multimodal_projector_bias))),
        act(activation(c.projector_hidden_act)) {}

  Tensor forward(const Tensor& x, const Tensor& image_sizes) {
    return linear_2(act(linear_1(patch_merger(norm(x), image_sizes))));
  }
};
TORCH_MODULE(Mistral3MultiModalProjector);

struct Mistral3Model : llava::LlavaModelOf<Mistral3Config, Mistral3MultiModalProjector> {
  using LlavaModelOf::LlavaModelOf;

  // [all tokens of all images, hidden]
  Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) override {
    const Tensor sizes = inputs.tensor("image_sizes");
    if (!sizes.defined()) throw Error(ErrorCode::invalid_value, "pixel_values need image_sizes [images, 2]");
    const Tensor x = llava::vision_features(*vision_tower, pixel_values, inputs, c.vision_feature_layer, "full");
    return multi_modal_projector(x.squeeze(0), sizes);
  }
};

struct Mistral3ForConditionalGeneration : llava::LlavaHead<Mistral3Model> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(mistral3, plugin) {
  plugin.config<Mistral3Config>();
  plugin.preprocessor(Auto::ImageProcessor, "PixtralImageProcessor", "PixtralImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "PixtralProcessor");
  plugin.model<Mistral3Model>(Auto::Model);
  plugin.model<Mistral3ForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<Mistral3ForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<Mistral3ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::mistral3
