// Convolution, batch norm, activation, padded as TensorFlow does: the layer of MobileNet and its kin.
#pragma once

#include "configuration_mobilenet_v1.h"

namespace backplane::mobilenet_v1 {

struct ConvLayerOptions {
  int64_t kernel = 1, stride = 1, dilation = 1, groups = 1;
  bool with_bias = false;
  bool tf_padding = true;
  double eps = 0.001;  // of the norm; below 0: no norm
  std::string act = "linear";
};

struct MobileNetConvLayerImpl : nn::Module {
  ConvLayerOptions o;
  nn::Conv2d convolution;
  nn::BatchNorm normalization{nullptr};
  Activation act;

  MobileNetConvLayerImpl(int64_t in, int64_t out, const ConvLayerOptions& options)
      : o(options),
        convolution(register_module("convolution",
                                    nn::Conv2d(in, out, o.kernel,
                                               nn::Square{.stride = o.stride,
                                                          .padding = o.tf_padding ? 0 : (o.kernel - 1) / 2 * o.dilation,
                                                          .dilation = o.dilation,
                                                          .groups = o.groups,
                                                          .with_bias = o.with_bias}))),
        act(activation(o.act)) {
    if (o.eps >= 0) normalization = register_module("normalization", nn::BatchNorm(out, o.eps, 0.997));
  }

  Tensor forward(const Tensor& x) {
    const Tensor h = convolution(o.tf_padding ? pad(x) : x);
    return act(normalization ? normalization(h) : h);
  }

  // As much as the windows need, the odd pixel at the end.
  Tensor pad(const Tensor& x) const {
    const auto missing = [&](int64_t size) {
      const int64_t rest = size % o.stride;
      return std::max<int64_t>(o.kernel - (rest ? rest : o.stride), 0);
    };
    const int64_t h = missing(x.size(2)), w = missing(x.size(3)), d = o.dilation;
    return h || w ? at::constant_pad_nd(x, {w / 2 * d, (w - w / 2) * d, h / 2 * d, (h - h / 2) * d}) : x;
  }
};
TORCH_MODULE(MobileNetConvLayer);

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

}  // namespace backplane::mobilenet_v1
