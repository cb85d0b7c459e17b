#pragma once

#include <optional>

#include "backplane/nn/module.h"

// Leaf modules with libtorch's names, arguments and parameter names. They differ in two things: parameters start
// uninitialised, since loading fills them, and Linear and Embedding are the one seam behind which other weight formats
// can live. As with every Module: forward from many threads, change from one.
namespace backplane::nn {

/// y = x W^T + b. weight [out_features, in_features], bias [out_features] or undefined.
class LinearImpl : public Module {
 public:
  LinearImpl(int64_t in_features, int64_t out_features, bool with_bias = true);
  /// x [..., in_features] -> [..., out_features]
  Tensor forward(const Tensor& x) const;
  /// Shares a parameter with another module (tied weights).
  void tie_weight(const Tensor& other);
  void tie_bias(const Tensor& other);

  Tensor weight, bias;
};
TORCH_MODULE(Linear);

/// Linear with its weight the other way round, as GPT-2 stores it: weight [in_features, out_features], bias
/// [out_features].
class Conv1DImpl : public Module {
 public:
  Conv1DImpl(int64_t out_features, int64_t in_features);
  /// x [..., in_features] -> [..., out_features]
  Tensor forward(const Tensor& x) const;

  Tensor weight, bias;
};
TORCH_MODULE(Conv1D);

/// weight [num_embeddings, embedding_dim]
class EmbeddingImpl : public Module {
 public:
  EmbeddingImpl(int64_t num_embeddings, int64_t embedding_dim, std::optional<int64_t> padding_idx = std::nullopt);
  /// ids [...] int64 -> [..., embedding_dim]. Throws `invalid_value` where an id is outside of the table.
  Tensor forward(const Tensor& ids) const;
  void tie_weight(const Tensor& other);

  Tensor weight;
  std::optional<int64_t> padding_idx;
};
TORCH_MODULE(Embedding);

/// Ba et al. 2016, https://arxiv.org/abs/1607.06450, over the last dimension.
class LayerNormImpl : public Module {
 public:
  LayerNormImpl(int64_t size, double eps = 1e-5, bool with_bias = true);
  Tensor forward(const Tensor& x) const;

  Tensor weight, bias;
  double eps;
};
TORCH_MODULE(LayerNorm);

/// Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467, over the last dimension, computed in float32.
class RMSNormImpl : public Module {
 public:
  explicit RMSNormImpl(int64_t size, double eps = 1e-6);
  Tensor forward(const Tensor& x) const;

  Tensor weight;
  double eps;
};
TORCH_MODULE(RMSNorm);

/// Active only in training mode.
class DropoutImpl : public Module {
 public:
  explicit DropoutImpl(double p) : p(p) {}
  Tensor forward(const Tensor& x) const { return is_training() && p > 0 ? at::dropout(x, p, true) : x; }

  double p;
};
TORCH_MODULE(Dropout);

}  // namespace backplane::nn
