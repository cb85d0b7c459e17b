#include "backplane/nn/layers.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/nn/ops.h"
#include "nn/kernels.h"
#include "backplane/nn/uninitialised.h"

namespace backplane::nn {
LinearImpl::LinearImpl(int64_t in_features, int64_t out_features, bool with_bias) {
  weight = register_parameter("weight", uninitialised({out_features, in_features}));
  if (with_bias) bias = register_parameter("bias", uninitialised({out_features}));
}

Tensor LinearImpl::forward(const Tensor& x) const {
  return kernels::can_gemv(x, weight, bias) ? kernels::gemv(x, weight, bias) : at::linear(x, weight, bias);
}

void LinearImpl::tie_weight(const Tensor& other) { parameters_["weight"] = weight = other; }

void LinearImpl::tie_bias(const Tensor& other) { parameters_["bias"] = bias = other; }

Conv1DImpl::Conv1DImpl(int64_t out_features, int64_t in_features) {
  weight = register_parameter("weight", uninitialised({in_features, out_features}));
  bias = register_parameter("bias", uninitialised({out_features}));
}

Tensor Conv1DImpl::forward(const Tensor& x) const {
  auto shape = x.sizes().vec();
  shape.back() = weight.size(1);
  return at::addmm(bias, x.reshape({-1, x.size(-1)}), weight).view(shape);
}

EmbeddingImpl::EmbeddingImpl(int64_t num_embeddings, int64_t embedding_dim, std::optional<int64_t> padding_idx)
    : padding_idx(padding_idx) {
  weight = register_parameter("weight", uninitialised({num_embeddings, embedding_dim}));
}

Tensor EmbeddingImpl::forward(const Tensor& ids) const {
  if (ids.numel() > 0) {
    const auto [low, high] = at::aminmax(ids);
    const int64_t worst = low.item<int64_t>() < 0 ? low.item<int64_t>() : high.item<int64_t>();
    if (worst < 0 || worst >= weight.size(0)) {
      throw Error(ErrorCode::invalid_value,
                  concat("id ", worst, " is outside of the embedding table of ", weight.size(0), " rows"));
    }
  }
  return at::embedding(weight, ids);
}

void EmbeddingImpl::tie_weight(const Tensor& other) { parameters_["weight"] = weight = other; }

LayerNormImpl::LayerNormImpl(int64_t size, double eps, bool with_bias) : eps(eps) {
  weight = register_parameter("weight", uninitialised({size}));
  if (with_bias) bias = register_parameter("bias", uninitialised({size}));
}

Tensor LayerNormImpl::forward(const Tensor& x) const { return at::layer_norm(x, {weight.size(0)}, weight, bias, eps); }

RMSNormImpl::RMSNormImpl(int64_t size, double eps) : eps(eps) {
  weight = register_parameter("weight", uninitialised({size}));
}

Tensor RMSNormImpl::forward(const Tensor& x) const { return rms_norm(x, weight, eps); }

}  // namespace backplane::nn
