// Convolution, batch norm, activation: the layer of ResNet and its kin. He et al. 2015,
// https://arxiv.org/abs/1512.03385
#pragma once

#include "configuration_resnet.h"

namespace backplane::resnet {

struct ResNetConvLayerImpl : nn::Module {
  nn::Conv2d convolution;
  nn::BatchNorm normalization;
  Activation act;

  // An empty `act`: none.
  ResNetConvLayerImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride, const std::string& act)
      : convolution(register_module(
            "convolution", nn::Conv2d(in_channels, out_channels, kernel,
                                      nn::Square{.stride = stride, .padding = kernel / 2, .with_bias = false}))),
        normalization(register_module("normalization", nn::BatchNorm(out_channels))),
        act(activation(act.empty() ? "linear" : act)) {}

  Tensor forward(const Tensor& x) { return act(normalization(convolution(x))); }
};
TORCH_MODULE(ResNetConvLayer);

struct ResNetShortCutImpl : nn::Module {
  nn::Conv2d convolution;
  nn::BatchNorm normalization;

  ResNetShortCutImpl(int64_t in_channels, int64_t out_channels, int64_t stride)
      : convolution(register_module(
            "convolution", nn::Conv2d(in_channels, out_channels, 1, nn::Square{.stride = stride, .with_bias = false}))),
        normalization(register_module("normalization", nn::BatchNorm(out_channels))) {}

  Tensor forward(const Tensor& x) { return normalization(convolution(x)); }
};
TORCH_MODULE(ResNetShortCut);

}  // namespace backplane::resnet
