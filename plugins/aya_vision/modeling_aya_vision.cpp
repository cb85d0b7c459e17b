// Aya Vision: Dash et al. 2025, https://arxiv.org/abs/2505.08751
// LLaVA except: blocks of patches become one embedding, normalised and mapped by a gated MLP.
// Reference: transformers, models/aya_vision/modeling_aya_vision.py

#include "../llava/modeling_llava.h"
#include "configuration_aya_vision.h"

namespace backplane::aya_vision {

struct AyaVisionMultiModalProjectorImpl : nn::Module {
  int64_t factor;
  nn::LayerNorm layernorm;
  nn::Linear linear_1, linear_2;

  explicit AyaVisionMultiModalProjectorImpl(const AyaVisionConfig& c)
      : AyaVisionMultiModalProjectorImpl(
            c, int_field(*c.vision_config, "hidden_size") * c.downsample_factor * c.downsample_factor,
            int_field(*c.text_config, "hidden_size")) {}

  AyaVisionMultiModalProjectorImpl(const AyaVisionConfig& c, int64_t in, int64_t out)
      : factor(c.downsample_factor),
        layernorm(register_module("layernorm", nn::LayerNorm(in, c.adapter_layer_norm_eps))),
        linear_1(register_module("linear_1", nn::Linear(in, width(c, out)))),
        linear_2(register_module("linear_2", nn::Linear(width(c, out) / 2, out))) {}

  // A key that some files have.
  static int64_t width(const AyaVisionConfig& c, int64_t fallback) {
    const Value* found = c.find_extra("alignment_intermediate_size");
    return found ? found->as_int() : fallback;
  }

  // x [images, side^2, dim] -> [images, side / factor, side / factor, hidden]
  Tensor forward(const Tensor& x) {
    const auto parts = linear_1(layernorm(shuffle(x))).chunk(2, -1);
    return linear_2(at::silu(parts[1]) * parts[0]);
  }

  Tensor shuffle(const Tensor& x) const {
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    if (side * side != x.size(1) || side % factor != 0) {
      throw Error(ErrorCode::invalid_value, concat("an image has ", x.size(1),
                                                   " patches; expected a square of blocks of ", factor, " x ", factor));
    }
    const int64_t images = x.size(0), small = side / factor;
    Tensor y = x.reshape({images, side, small, -1}).permute({0, 2, 1, 3});
    return y.reshape({images, small, small, -1}).permute({0, 2, 1, 3});
  }
};
TORCH_MODULE(AyaVisionMultiModalProjector);

struct AyaVisionModel : llava::LlavaModelOf<AyaVisionConfig, AyaVisionMultiModalProjector> {
  using LlavaModelOf::LlavaModelOf;

  // [images, rows, columns, hidden]
  Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) override {
    return projected(pixel_values, inputs);
  }
};

struct AyaVisionForConditionalGeneration : llava::LlavaHead<AyaVisionModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(aya_vision, plugin) {
  plugin.config<AyaVisionConfig>();
  plugin.tokenizer("", "CohereTokenizerFast");
  plugin.preprocessor(Auto::Processor, "AyaVisionProcessor");
  plugin.model<AyaVisionModel>(Auto::Model);
  plugin.model<AyaVisionForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::aya_vision
