#pragma once

#include <vector>

#include "backplane/nn/conv.h"
#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

// What speech models are built of, over raw waves and frames. Forward from many threads, change from one.
namespace backplane::nn {

/// A convolution whose weight is g * v / |v|, the norm over all but the last dimension. Salimans and Kingma 2016,
/// https://arxiv.org/abs/1602.07868. Parameters: parametrizations.weight.original0 (g) and original1 (v), and bias.
class WeightNormConv1dImpl : public Module {
 public:
  /// `norm_dim` is the dimension that g runs along: 2 in position convolutions, 0 in codecs.
  WeightNormConv1dImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, ConvOptions<1> options,
                       int64_t norm_dim);
  /// x [batch, in_channels, time] -> [batch, out_channels, time]
  Tensor forward(const Tensor& x) const;

  Tensor g, v, bias;
  ConvOptions<1> options;
  int64_t norm_dim;
};
TORCH_MODULE(WeightNormConv1d);

/// The same, transposed; g runs along the input channels.
class WeightNormConvTranspose1dImpl : public Module {
 public:
  WeightNormConvTranspose1dImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, ConvOptions<1> options);
  Tensor forward(const Tensor& x) const;

  Tensor g, v, bias;
  ConvOptions<1> options;
};
TORCH_MODULE(WeightNormConvTranspose1d);

enum class ConvNorm { none, group, layer };

/// Convolution without padding, norm, activation: one layer of a wave encoder. Baevski et al. 2020,
/// https://arxiv.org/abs/2006.11477. The group norm has a group a channel; the layer norm is over the channels.
class WaveConvLayerImpl : public Module {
 public:
  WaveConvLayerImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride, bool with_bias,
                    ConvNorm norm, Activation act);
  /// x [batch, in_channels, time] -> [batch, out_channels, frames]
  Tensor forward(const Tensor& x);

 private:
  Conv1d conv_;
  GroupNorm group_norm_{nullptr};
  LayerNorm layer_norm_{nullptr};
  Activation act_;
};
TORCH_MODULE(WaveConvLayer);

/// Product quantisation: the nearest code of each group by argmax, in training by a Gumbel softmax.
/// https://arxiv.org/abs/1611.01144
class GumbelVectorQuantizerImpl : public Module {
 public:
  GumbelVectorQuantizerImpl(int64_t in_features, int64_t groups, int64_t codes_per_group, int64_t code_size);
  struct Result {
    Tensor codes;       // [batch, frames, code_size]
    Tensor perplexity;  // a number: how many codes are in use
  };
  /// x [batch, frames, in_features]; mask [batch, frames] bool or undefined: the frames that perplexity counts.
  Result forward(const Tensor& x, const Tensor& mask = {});

  int64_t groups, codes_per_group;
  double temperature = 2;
  Tensor codevectors;  // [1, groups * codes_per_group, code_size / groups]
  Linear weight_proj{nullptr};
};
TORCH_MODULE(GumbelVectorQuantizer);

/// A time-delay layer: a dilated convolution whose weight is stored as a linear layer's. Snyder et al. 2018
/// (x-vectors).
class TdnnLayerImpl : public Module {
 public:
  TdnnLayerImpl(int64_t in_features, int64_t out_features, int64_t kernel, int64_t dilation);
  /// x [batch, frames, in_features] -> [batch, frames - dilation * (kernel - 1), out_features]
  Tensor forward(const Tensor& x);

  int64_t size, dilation;
  Linear kernel;
};
TORCH_MODULE(TdnnLayer);

}  // namespace backplane::nn

namespace backplane {

/// Additive-margin softmax. Wang et al. 2018, https://arxiv.org/abs/1801.05599. x [batch, size], weight [size,
/// classes], labels [batch].
Tensor am_softmax_loss(const Tensor& x, const Tensor& weight, const Tensor& labels, double scale = 30,
                       double margin = 0.4);

struct CtcOptions {
  int64_t blank = 0;
  std::string reduction = "mean";  // none, mean, sum
  bool zero_infinity = false;
};
/// Connectionist temporal classification. Graves et al. 2006. logits [batch, frames, classes], lengths [batch] in
/// frames, labels [batch, labels], negative where there is none. Throws `bad_config` for another reduction,
/// `invalid_value` for a label that is no class.
Tensor ctc_loss(const Tensor& logits, const Tensor& lengths, const Tensor& labels, const CtcOptions& options);

struct SpanMaskOptions {
  double prob = 0;      // share of the axis that is masked, an upper bound
  int64_t length = 10;  // of a span
  int64_t min_spans = 0;
};
/// Random spans of an axis, as SpecAugment masks them in training: [batch, size] bool. Park et al. 2019,
/// https://arxiv.org/abs/1904.08779. attention_mask [batch, size] or undefined. Throws `bad_config` for a span that is
/// longer than the axis.
Tensor span_mask(int64_t batch, int64_t size, const SpanMaskOptions& options, const Tensor& attention_mask = {});

/// Softmax-weighted sum of hidden states, n times [batch, frames, hidden], by weights [n].
Tensor weighted_layer_sum(const std::vector<Tensor>& hidden_states, const Tensor& weights);

}  // namespace backplane
