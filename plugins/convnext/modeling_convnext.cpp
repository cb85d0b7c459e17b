// ConvNeXt: Liu et al. 2022, https://arxiv.org/abs/2201.03545
// Depthwise 7 x 7 convolutions, LayerNorm, an inverted bottleneck, learned scales of the branches. Reference:
// transformers, models/convnext/modeling_convnext.py

#include "modeling_convnext.h"

namespace backplane::convnext {

struct ConvNextLayerImpl : nn::Module {
  nn::Conv2d dwconv;
  nn::LayerNorm layernorm;
  nn::Linear pwconv1, pwconv2;
  Activation act;
  Tensor layer_scale_parameter;
  nn::DropPath drop_path;

  ConvNextLayerImpl(const ConvNextConfig& c, int64_t channels, double drop)
      : dwconv(
            register_module("dwconv", nn::Conv2d(channels, channels, 7, nn::Square{.padding = 3, .groups = channels}))),
        layernorm(register_module("layernorm", nn::LayerNorm(channels, 1e-6))),
        pwconv1(register_module("pwconv1", nn::Linear(channels, 4 * channels))),
        pwconv2(register_module("pwconv2", nn::Linear(4 * channels, channels))),
        act(activation(c.hidden_act)),
        drop_path(register_module("drop_path", nn::DropPath(drop))) {
    if (c.layer_scale_init_value > 0)
      layer_scale_parameter = register_parameter("layer_scale_parameter", nn::parameter({channels}));
  }

  Tensor forward(const Tensor& x) {
    Tensor h = pwconv2(act(pwconv1(layernorm(dwconv(x).permute({0, 2, 3, 1})))));  // [batch, height, width, channels]
    if (layer_scale_parameter.defined()) h = layer_scale_parameter * h;
    return x + drop_path(h.permute({0, 3, 1, 2}));
  }
};
TORCH_MODULE(ConvNextLayer);

struct ConvNextNames {
  static constexpr const char* kPrefix = "convnext";
};
struct ConvNextModel : ConvNextModelOf<ConvNextConfig, ConvNextLayer, ConvNextNames> {
  using ConvNextModelOf::ConvNextModelOf;
};
struct ConvNextForImageClassification : ConvNextClassifierOf<ConvNextModel, ConvNextNames> {
  using ConvNextClassifierOf::ConvNextClassifierOf;
};
struct ConvNextBackbone : ConvNextBackboneOf<ConvNextConfig, ConvNextLayer, ConvNextNames> {
  using ConvNextBackboneOf::ConvNextBackboneOf;
};

BACKPLANE_PLUGIN(convnext, plugin) {
  plugin.config<ConvNextConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ConvNextFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ConvNextImageProcessor", "ConvNextImageProcessorFast");
  plugin.model<ConvNextModel>(Auto::Model);
  plugin.model<ConvNextForImageClassification>(Auto::ForImageClassification);
  plugin.model<ConvNextBackbone>(Auto::Backbone);
}

}  // namespace backplane::convnext
