#include "backplane/nn/conv.h"

#include "backplane/nn/uninitialised.h"

namespace backplane::nn {
namespace {

template <size_t D>
std::vector<int64_t> weight_shape(int64_t first, int64_t second, const Extent<D>& kernel) {
  std::vector<int64_t> shape = {first, second};
  shape.insert(shape.end(), kernel.begin(), kernel.end());
  return shape;
}

int64_t per_group(int64_t channels, int64_t groups) {
  if (groups <= 0 || channels % groups != 0) {
    throw Error(ErrorCode::bad_config,
                concat("a convolution of ", channels, " channels cannot be split into ", groups, " groups"));
  }
  return channels / groups;
}

}  // namespace

template <size_t D>
ConvNdImpl<D>::ConvNdImpl(int64_t in_channels, int64_t out_channels, Extent<D> kernel, ConvOptions<D> options)
    : options(options) {
  per_group(out_channels, options.groups);
  weight = register_parameter(
      "weight", uninitialised(weight_shape(out_channels, per_group(in_channels, options.groups), kernel)));
  if (options.with_bias) bias = register_parameter("bias", uninitialised({out_channels}));
}

template <size_t D>
Tensor ConvNdImpl<D>::forward(const Tensor& x) const {
  return at::convolution(x, weight, bias, options.stride, options.padding, options.dilation, false, extent<D>(0),
                         options.groups);
}

template class ConvNdImpl<1>;
template class ConvNdImpl<2>;
template class ConvNdImpl<3>;

template <size_t D>
ConvTransposeNdImpl<D>::ConvTransposeNdImpl(int64_t in_channels, int64_t out_channels, Extent<D> kernel,
                                            ConvOptions<D> options)
    : options(options) {
  per_group(in_channels, options.groups);
  weight = register_parameter(
      "weight", uninitialised(weight_shape(in_channels, per_group(out_channels, options.groups), kernel)));
  if (options.with_bias) bias = register_parameter("bias", uninitialised({out_channels}));
}

template <size_t D>
Tensor ConvTransposeNdImpl<D>::forward(const Tensor& x) const {
  return at::convolution(x, weight, bias, options.stride, options.padding, options.dilation, true,
                         options.output_padding, options.groups);
}

template class ConvTransposeNdImpl<1>;
template class ConvTransposeNdImpl<2>;

namespace {

thread_local int frozen_depth = 0;

}  // namespace

FrozenBatchNorms::FrozenBatchNorms() { ++frozen_depth; }
FrozenBatchNorms::~FrozenBatchNorms() { --frozen_depth; }

BatchNormImpl::BatchNormImpl(int64_t channels, double eps, double momentum)
    : eps(eps), momentum(momentum), frozen_(frozen_depth > 0) {
  weight = register_parameter("weight", uninitialised({channels}), !frozen_);
  bias = register_parameter("bias", uninitialised({channels}), !frozen_);
  running_mean = register_buffer("running_mean", uninitialised({channels}));
  running_var = register_buffer("running_var", uninitialised({channels}));
  if (!frozen_) num_batches_tracked = register_buffer("num_batches_tracked", at::zeros({}, at::kLong));
}

Tensor BatchNormImpl::forward(const Tensor& x) {
  const bool learns = is_training() && !frozen_;
  if (learns) num_batches_tracked.add_(1);
  return at::batch_norm(x, weight, bias, running_mean, running_var, learns, momentum, eps, false);
}

GroupNormImpl::GroupNormImpl(int64_t groups, int64_t channels, double eps) : groups(groups), eps(eps) {
  per_group(channels, groups);
  weight = register_parameter("weight", uninitialised({channels}));
  bias = register_parameter("bias", uninitialised({channels}));
}

Tensor GroupNormImpl::forward(const Tensor& x) const { return at::group_norm(x, groups, weight, bias, eps); }

}  // namespace backplane::nn
