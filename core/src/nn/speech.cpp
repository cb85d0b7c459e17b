#include "backplane/nn/speech.h"

#include <cmath>
#include <limits>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/nn/uninitialised.h"

namespace backplane {
namespace nn {
namespace {

// The parameters of a weight norm, in the modules that their names ask for.
std::pair<Tensor, Tensor> register_weight_norm(Module& conv, std::vector<int64_t> shape, int64_t norm_dim) {
  std::vector<int64_t> norms(shape.size(), 1);
  norms[static_cast<size_t>(norm_dim)] = shape[static_cast<size_t>(norm_dim)];
  auto parametrizations = conv.register_module("parametrizations", std::make_shared<Module>());
  auto weight = parametrizations->register_module("weight", std::make_shared<Module>());
  Tensor g = weight->register_parameter("original0", uninitialised(norms));
  Tensor v = weight->register_parameter("original1", uninitialised(std::move(shape)));
  return {g, v};
}

void check_groups(int64_t in_channels, int64_t out_channels, int64_t groups) {
  if (groups <= 0 || in_channels % groups != 0 || out_channels % groups != 0) {
    throw Error(ErrorCode::bad_config, concat("a convolution of ", in_channels, " to ", out_channels,
                                              " channels cannot be split into ", groups, " groups"));
  }
}

}  // namespace

WeightNormConv1dImpl::WeightNormConv1dImpl(int64_t in_channels, int64_t out_channels, int64_t kernel,
                                           ConvOptions<1> options, int64_t norm_dim)
    : options(options), norm_dim(norm_dim) {
  check_groups(in_channels, out_channels, options.groups);
  if (options.with_bias) bias = register_parameter("bias", uninitialised({out_channels}));
  std::tie(g, v) = register_weight_norm(*this, {out_channels, in_channels / options.groups, kernel}, norm_dim);
}

Tensor WeightNormConv1dImpl::forward(const Tensor& x) const {
  return at::convolution(x, at::_weight_norm(v, g, norm_dim), bias, options.stride, options.padding, options.dilation,
                         false, {0}, options.groups);
}

WeightNormConvTranspose1dImpl::WeightNormConvTranspose1dImpl(int64_t in_channels, int64_t out_channels, int64_t kernel,
                                                             ConvOptions<1> options)
    : options(options) {
  check_groups(in_channels, out_channels, options.groups);
  if (options.with_bias) bias = register_parameter("bias", uninitialised({out_channels}));
  std::tie(g, v) = register_weight_norm(*this, {in_channels, out_channels / options.groups, kernel}, 0);
}

Tensor WeightNormConvTranspose1dImpl::forward(const Tensor& x) const {
  return at::convolution(x, at::_weight_norm(v, g, 0), bias, options.stride, options.padding, options.dilation, true,
                         options.output_padding, options.groups);
}

WaveConvLayerImpl::WaveConvLayerImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride,
                                     bool with_bias, ConvNorm norm, Activation act)
    : conv_(register_module("conv", Conv1d(in_channels, out_channels, kernel,
                                           ConvOptions<1>{.stride = {stride}, .with_bias = with_bias}))),
      act_(act) {
  if (norm == ConvNorm::group) group_norm_ = register_module("layer_norm", GroupNorm(out_channels, out_channels));
  if (norm == ConvNorm::layer) layer_norm_ = register_module("layer_norm", LayerNorm(out_channels));
}

Tensor WaveConvLayerImpl::forward(const Tensor& x) {
  Tensor y = conv_(x);
  if (group_norm_) y = group_norm_(y);
  if (layer_norm_) y = layer_norm_(y.transpose(1, 2)).transpose(1, 2);
  return act_(y);
}

GumbelVectorQuantizerImpl::GumbelVectorQuantizerImpl(int64_t in_features, int64_t groups, int64_t codes_per_group,
                                                     int64_t code_size)
    : groups(groups), codes_per_group(codes_per_group) {
  if (groups <= 0 || code_size % groups != 0) {
    throw Error(ErrorCode::bad_config, concat("config.json: codevector_dim (", code_size,
                                              ") is not divisible by num_codevector_groups (", groups, ")"));
  }
  codevectors = register_parameter("codevectors", uninitialised({1, groups * codes_per_group, code_size / groups}));
  weight_proj = register_module("weight_proj", Linear(in_features, groups * codes_per_group));
}

GumbelVectorQuantizerImpl::Result GumbelVectorQuantizerImpl::forward(const Tensor& x, const Tensor& mask) {
  const int64_t batch = x.size(0), frames = x.size(1);
  const Tensor scores = weight_proj(x).view({batch * frames, groups, codes_per_group});
  Tensor probs, usage;  // [batch * frames, groups, codes]
  if (is_training()) {
    const Tensor noise = -at::empty_like(scores, at::kFloat).exponential_().log();
    const Tensor soft = at::softmax((scores.to(at::kFloat) + noise) / temperature, -1);
    const Tensor hard = at::zeros_like(soft).scatter_(-1, soft.argmax(-1, true), 1.0);
    probs = (hard - soft.detach() + soft).to(scores.scalar_type());
    usage = at::softmax(scores, -1, at::kFloat);
  } else {
    probs = usage = at::zeros_like(scores).scatter_(-1, scores.argmax(-1, true), 1.0);
  }
  Tensor marginal = usage.mean(0);
  if (mask.defined()) {
    const Tensor counted = mask.flatten().view({-1, 1, 1});
    marginal = at::where(counted, usage, at::zeros_like(usage)).sum(0) / mask.sum();
  }
  const Tensor perplexity = at::exp(-(marginal * at::log(marginal + 1e-7)).sum(-1)).sum();
  const Tensor codes = at::einsum("ngc,gcd->ngd", {probs, codevectors.view({groups, codes_per_group, -1})});
  return {codes.reshape({batch, frames, -1}), perplexity};
}

TdnnLayerImpl::TdnnLayerImpl(int64_t in_features, int64_t out_features, int64_t kernel_size, int64_t dilation)
    : size(kernel_size),
      dilation(dilation),
      kernel(register_module("kernel", Linear(in_features * kernel_size, out_features))) {}

Tensor TdnnLayerImpl::forward(const Tensor& x) {
  const Tensor weight = kernel->weight.view({kernel->weight.size(0), size, -1}).transpose(1, 2);
  return at::relu(
      at::convolution(x.transpose(1, 2), weight, kernel->bias, {1}, {0}, {dilation}, false, {0}, 1).transpose(1, 2));
}

}  // namespace nn

Tensor am_softmax_loss(const Tensor& x, const Tensor& weight, const Tensor& labels, double scale, double margin) {
  const auto normalised = [](const Tensor& t, int64_t dim) { return t / t.norm(2, dim, true).clamp_min(1e-12); };
  const Tensor cosine = at::mm(normalised(x, 1), normalised(weight, 0));
  const Tensor own = at::one_hot(labels.flatten(), weight.size(1)).to(at::kBool);
  return cross_entropy(scale * at::where(own, cosine - margin, cosine), labels.flatten());
}

Tensor ctc_loss(const Tensor& logits, const Tensor& lengths, const Tensor& labels, const CtcOptions& options) {
  const int64_t reduction = options.reduction == "none"   ? at::Reduction::None
                            : options.reduction == "mean" ? at::Reduction::Mean
                            : options.reduction == "sum"  ? at::Reduction::Sum
                                                          : -1;
  if (reduction < 0) {
    throw Error(ErrorCode::bad_config,
                concat("config.json: ctc_loss_reduction is '", options.reduction, "'; expected none, mean or sum"));
  }
  if (options.blank < 0 || options.blank >= logits.size(-1)) {
    throw Error(ErrorCode::bad_config, concat("config.json: pad_token_id (", options.blank,
                                              "), the blank, is not one of the ", logits.size(-1), " classes"));
  }
  if (labels.numel() > 0 && labels.max().item<int64_t>() >= logits.size(-1)) {
    throw Error(ErrorCode::invalid_value, concat("label ", labels.max().item<int64_t>(), " is not one of the ",
                                                 logits.size(-1), " classes (vocab_size)"));
  }
  const Tensor counts = labels >= 0;
  return at::ctc_loss(at::log_softmax(logits, -1, at::kFloat).transpose(0, 1), labels.masked_select(counts), lengths,
                      counts.sum(-1), options.blank, reduction, options.zero_infinity);
}

Tensor span_mask(int64_t batch, int64_t size, const SpanMaskOptions& options, const Tensor& attention_mask) {
  if (options.length < 1 || options.length > size) {
    throw Error(ErrorCode::bad_config, concat("spans of ", options.length,
                                              " (mask_time_length, mask_feature_length) do not fit an axis of ", size));
  }
  const double chance = at::rand({1}).item<double>();
  const auto spans_of = [&](int64_t length) {
    int64_t spans =
        static_cast<int64_t>(options.prob * static_cast<double>(length) / static_cast<double>(options.length) + chance);
    spans = std::max(spans, options.min_spans);
    if (spans * options.length > size) spans = size / options.length;
    return std::clamp<int64_t>(spans, 0, std::max<int64_t>(length - (options.length - 1), 0));
  };
  Tensor mask = at::zeros({batch, size}, at::kBool);
  const Tensor lengths =
      attention_mask.defined() ? attention_mask.to(at::kLong).sum(-1) : at::full({batch}, size, at::kLong);
  const Tensor offsets = at::arange(options.length);
  for (int64_t row = 0; row < batch; ++row) {
    const int64_t length = lengths[row].item<int64_t>(), spans = spans_of(length);
    if (spans == 0) continue;
    const Tensor starts = at::randperm(length - (options.length - 1), at::kLong).slice(0, 0, spans);
    mask[row].index_fill_(0, (starts.unsqueeze(1) + offsets).flatten().clamp_max(size - 1), true);
  }
  return mask;
}

Tensor weighted_layer_sum(const std::vector<Tensor>& hidden_states, const Tensor& weights) {
  return (at::stack(hidden_states, 1) * at::softmax(weights, -1).view({-1, 1, 1})).sum(1);
}

}  // namespace backplane
