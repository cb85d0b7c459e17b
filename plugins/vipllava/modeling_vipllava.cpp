// ViP-LLaVA: Cai et al. 2023, https://arxiv.org/abs/2312.00784
// LLaVA except: features of several layers side by side, normalised before they are mapped.
// Reference: transformers, models/vipllava/modeling_vipllava.py

#include "../llava/modeling_llava.h"
#include "configuration_vipllava.h"

namespace backplane::vipllava {

struct VipLlavaMultiModalProjectorImpl : nn::Module {
  nn::LayerNorm projector_layernorm;
  nn::Linear linear_1, linear_2;
  Activation act;

  explicit VipLlavaMultiModalProjectorImpl(const VipLlavaConfig& c)
      : VipLlavaMultiModalProjectorImpl(c,
                                        int_field(*c.vision_config, "hidden_size") *
                                            llava::LlavaMultiModalProjectorImpl::count(c.vision_feature_layers),
                                        int_field(*c.text_config, "hidden_size")) {}

  VipLlavaMultiModalProjectorImpl(const VipLlavaConfig& c, int64_t in, int64_t out)
      : projector_layernorm(register_module("projector_layernorm", nn::LayerNorm(in, c.projector_layernorm_eps))),
        linear_1(register_module("linear_1", nn::Linear(in, out))),
        linear_2(register_module("linear_2", nn::Linear(out, out))),
        act(activation(c.projector_hidden_act)) {}

  Tensor forward(const Tensor& x) { return linear_2(act(linear_1(projector_layernorm(x)))); }
};
TORCH_MODULE(VipLlavaMultiModalProjector);

struct VipLlavaModel : llava::LlavaModelOf<VipLlavaConfig, VipLlavaMultiModalProjector> {
  using LlavaModelOf::LlavaModelOf;

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "pixel_values", "vision_feature_layers");
    return kNames;
  }

  Tensor image_features(const Tensor& pixel_values, const ModelInputs& inputs) override {
    const Value layers = inputs.contains("vision_feature_layers") ? Value(inputs.number("vision_feature_layers", 0))
                                                                  : c.vision_feature_layers;
    return multi_modal_projector(llava::vision_features(*vision_tower, pixel_values, {}, layers, "default"));
  }
};

struct VipLlavaForConditionalGeneration : llava::LlavaHead<VipLlavaModel> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(vipllava, plugin) {
  plugin.config<VipLlavaConfig>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "CLIPImageProcessor", "CLIPImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "LlavaProcessor");
  plugin.model<VipLlavaModel>(Auto::Model);
  plugin.model<VipLlavaForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<VipLlavaForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<VipLlavaForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::vipllava
