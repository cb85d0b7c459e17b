#pragma once

#include <array>
#include <optional>

#include "backplane/nn/module.h"

// Convolutions and the norms that go with them, with libtorch's names, arguments and parameter names. Parameters and
// running statistics start uninitialised, since loading fills them. Forward from many threads, change from one.
namespace backplane::nn {

template <size_t D>
using Extent = std::array<int64_t, D>;

/// The same number in every direction.
template <size_t D>
constexpr Extent<D> extent(int64_t size) {
  Extent<D> all{};
  for (auto& one : all) one = size;
  return all;
}

/// All sizes are in elements, one a spatial dimension, the outermost first.
template <size_t D>
struct ConvOptions {
  Extent<D> stride = extent<D>(1);
  Extent<D> padding = extent<D>(0);
  Extent<D> dilation = extent<D>(1);
  int64_t groups = 1;
  bool with_bias = true;
  Extent<D> output_padding = extent<D>(0);  // of transposed convolutions only
};

/// weight [out_channels, in_channels / groups, kernel…], bias [out_channels] or undefined.
template <size_t D>
class ConvNdImpl : public Module {
 public:
  ConvNdImpl(int64_t in_channels, int64_t out_channels, Extent<D> kernel, ConvOptions<D> options = {});
  ConvNdImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, ConvOptions<D> options = {})
      : ConvNdImpl(in_channels, out_channels, extent<D>(kernel), options) {}
  /// x [batch, in_channels, size…] -> [batch, out_channels, size…]
  Tensor forward(const Tensor& x) const;

  Tensor weight, bias;
  ConvOptions<D> options;
};
using Conv1dImpl = ConvNdImpl<1>;
using Conv2dImpl = ConvNdImpl<2>;
using Conv3dImpl = ConvNdImpl<3>;
TORCH_MODULE(Conv1d);
TORCH_MODULE(Conv2d);
TORCH_MODULE(Conv3d);

/// weight [in_channels, out_channels / groups, kernel…], bias [out_channels] or undefined.
template <size_t D>
class ConvTransposeNdImpl : public Module {
 public:
  ConvTransposeNdImpl(int64_t in_channels, int64_t out_channels, Extent<D> kernel, ConvOptions<D> options = {});
  ConvTransposeNdImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, ConvOptions<D> options = {})
      : ConvTransposeNdImpl(in_channels, out_channels, extent<D>(kernel), options) {}
  Tensor forward(const Tensor& x) const;

  Tensor weight, bias;
  ConvOptions<D> options;
};
using ConvTranspose1dImpl = ConvTransposeNdImpl<1>;
using ConvTranspose2dImpl = ConvTransposeNdImpl<2>;
TORCH_MODULE(ConvTranspose1d);
TORCH_MODULE(ConvTranspose2d);

/// Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. x [batch, channels, size…]; in evaluation mode by
/// running_mean and running_var.
class BatchNormImpl : public Module {
 public:
  explicit BatchNormImpl(int64_t channels, double eps = 1e-5, double momentum = 0.1);
  Tensor forward(const Tensor& x);
  Tensor weight, bias, running_mean, running_var, num_batches_tracked;
  double eps, momentum;

 private:
  bool frozen_;
};
TORCH_MODULE(BatchNorm);

/// While it lives, every BatchNorm made in this thread is frozen, as detectors freeze their backbones: training does
/// not change it, and it has no num_batches_tracked.
class FrozenBatchNorms {
 public:
  FrozenBatchNorms();
  ~FrozenBatchNorms();
  FrozenBatchNorms(const FrozenBatchNorms&) = delete;
  FrozenBatchNorms& operator=(const FrozenBatchNorms&) = delete;
};

/// Wu and He 2018, https://arxiv.org/abs/1803.08494. x [batch, channels, size…].
class GroupNormImpl : public Module {
 public:
  GroupNormImpl(int64_t groups, int64_t channels, double eps = 1e-5);
  Tensor forward(const Tensor& x) const;

  Tensor weight, bias;
  int64_t groups;
  double eps;
};
TORCH_MODULE(GroupNorm);

}  // namespace backplane::nn
