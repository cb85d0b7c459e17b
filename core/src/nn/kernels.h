#pragma once

#include "backplane/nn/ops.h"

// Kernels for what libtorch does slowly: one row at a time (decoding) on the CPU. Each can_… says whether its kernel
// serves these tensors; callers fall back to libtorch otherwise, always where gradients are wanted.
namespace backplane::kernels {

/// x has one row, weights are contiguous float32 or bfloat16 of x's dtype.
bool can_gemv(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor gemv(const Tensor& x, const Tensor& weight, const Tensor& bias);

bool can_rms_norm(const Tensor& x, const Tensor& weight);
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

/// q [batch, heads, 1, d], k and v [batch, kv_heads, kv, d] with contiguous rows.
bool can_decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);
Tensor decode_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, double scale);

}  // namespace backplane::kernels
