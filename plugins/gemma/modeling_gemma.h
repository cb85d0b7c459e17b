#pragma once

// Gemma: Gemma Team 2024, https://arxiv.org/abs/2403.08295
// Gemma is LLaMA except: norms scale by 1 + weight, embeddings are scaled by sqrt(hidden_size), the MLP's gate is a
// GELU. Reference: transformers, models/gemma/modeling_gemma.py

#include "../llama/modeling_llama.h"

namespace backplane::gemma {

// RMSNorm with its weight stored around 0, rounded once at the end.
struct GemmaRMSNormImpl : nn::RMSNormImpl {
  using RMSNormImpl::RMSNormImpl;
  Tensor forward(const Tensor& x) const {
    return rms_norm(x.to(at::kFloat), weight.to(at::kFloat) + 1, eps).to(x.scalar_type());
  }
};
TORCH_MODULE(GemmaRMSNorm);

// x * sqrt(hidden_size), the factor rounded to x's dtype.
inline Tensor scale_embeddings(const Tensor& x) {
  return x * at::scalar_tensor(std::sqrt(static_cast<double>(x.size(-1))), x.options());
}

}  // namespace backplane::gemma
