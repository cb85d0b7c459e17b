// ConvNeXt V2: Woo et al. 2023, https://arxiv.org/abs/2301.00808
// ConvNeXt V2 is ConvNeXt except: a global response normalisation in each layer takes the place of the learned scale.
// Reference: transformers, models/convnextv2/modeling_convnextv2.py

#include "../convnext/modeling_convnext.h"
#include "configuration_convnextv2.h"

namespace backplane::convnextv2 {

// Channels compete by their norm over the whole map.
struct ConvNextV2GRNImpl : nn::Module {
  Tensor weight, bias;

  explicit ConvNextV2GRNImpl(int64_t dim)
      : weight(register_parameter("weight", nn::parameter({1, 1, 1, dim}))),
        bias(register_parameter("bias", nn::parameter({1, 1, 1, dim}))) {}

  // x [batch, height, width, dim]
  Tensor forward(const Tensor& x) {
    const Tensor norm = at::linalg_vector_norm(x, 2, at::IntArrayRef({1, 2}), true);
    return weight * (x * (norm / (norm.mean(-1, true) + 1e-6))) + bias + x;
  }
};
TORCH_MODULE(ConvNextV2GRN);

struct ConvNextV2LayerImpl : nn::Module {
  nn::Conv2d dwconv;
  nn::LayerNorm layernorm;
  nn::Linear pwconv1, pwconv2;
  Activation act;
  ConvNextV2GRN grn;
  nn::DropPath drop_path;

  ConvNextV2LayerImpl(const ConvNextV2Config& c, int64_t channels, double drop)
      : dwconv(
            register_module("dwconv", nn::Conv2d(channels, channels, 7, nn::Square{.padding = 3, .groups = channels}))),
        layernorm(register_module("layernorm", nn::LayerNorm(channels, 1e-6))),
        pwconv1(register_module("pwconv1", nn::Linear(channels, 4 * channels))),
        pwconv2(register_module("pwconv2", nn::Linear(4 * channels, channels))),
        act(activation(c.hidden_act)),
        grn(register_module("grn", ConvNextV2GRN(4 * channels))),
        drop_path(register_module("drop_path", nn::DropPath(drop))) {}

  Tensor forward(const Tensor& x) {
    const Tensor h = pwconv2(grn(act(pwconv1(layernorm(dwconv(x).permute({0, 2, 3, 1}))))));
    return x + drop_path(h.permute({0, 3, 1, 2}));
  }
};
TORCH_MODULE(ConvNextV2Layer);

struct ConvNextV2Names {
  static constexpr const char* kPrefix = "convnextv2";
};
struct ConvNextV2Model : convnext::ConvNextModelOf<ConvNextV2Config, ConvNextV2Layer, ConvNextV2Names> {
  using ConvNextModelOf::ConvNextModelOf;
};
struct ConvNextV2ForImageClassification : convnext::ConvNextClassifierOf<ConvNextV2Model, ConvNextV2Names> {
  using ConvNextClassifierOf::ConvNextClassifierOf;
};
struct ConvNextV2Backbone : convnext::ConvNextBackboneOf<ConvNextV2Config, ConvNextV2Layer, ConvNextV2Names> {
  using ConvNextBackboneOf::ConvNextBackboneOf;
};

BACKPLANE_PLUGIN(convnextv2, plugin) {
  plugin.config<ConvNextV2Config>();
  plugin.preprocessor(Auto::ImageProcessor, "ConvNextImageProcessor", "ConvNextImageProcessorFast");
  plugin.model<ConvNextV2Model>(Auto::Model);
  plugin.model<ConvNextV2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<ConvNextV2Backbone>(Auto::Backbone);
}

}  // namespace backplane::convnextv2
