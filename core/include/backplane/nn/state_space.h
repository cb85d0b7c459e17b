#pragma once

#include "backplane/nn/layers.h"

// What state-space models share. Pure functions but for the states, which they read, replace and leave undefined
// nowhere. Thread-safe for different states.
namespace backplane {

/// Depthwise causal convolution: y_t = bias + sum_i weight_i x_(t - k + 1 + i). x [batch, channels, seq], weight
/// [channels, 1, k], bias [channels] or undefined. `state` null, or the last k inputs [batch, channels, k], read (where
/// defined) and replaced.
Tensor causal_conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor* state);

/// Selective scan of Mamba, https://arxiv.org/abs/2312.00752: h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t, y_t = C_t h_t.
/// x and dt [batch, seq, d], A [d, n], B and C [batch, seq, n] -> [batch, seq, d] in x's dtype. `state` null, or h
/// [batch, d, n], read (where defined) and replaced.
Tensor selective_scan(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
                      Tensor* state);

/// The scan of Mamba-2, https://arxiv.org/abs/2405.21060, whose A is one number a head. x [batch, seq, heads, p], dt
/// [batch, seq, heads], A [heads], B and C [batch, seq, groups, n] with heads a multiple of groups -> [batch, seq,
/// heads, p] in float32. `state` null, or h [batch, heads, p, n], read (where defined) and replaced.
Tensor state_space_scan(const Tensor& x, const Tensor& dt, const Tensor& A, const Tensor& B, const Tensor& C,
                        Tensor* state);

/// Throws `bad_config` unless heads * head_dim is `inner` and heads is a multiple of groups, all above 0.
void check_state_space_heads(int64_t heads, int64_t head_dim, int64_t groups, int64_t inner);

namespace nn {

/// RMSNorm of x * silu(gate), in float32, over groups of `group_size` numbers each (0: all at once).
class GatedRMSNormImpl : public RMSNormImpl {
 public:
  explicit GatedRMSNormImpl(int64_t size, double eps = 1e-6, int64_t group_size = 0)
      : RMSNormImpl(size, eps), group_size(group_size > 0 ? group_size : size) {}
  /// x and gate [..., size] -> [..., size] in x's dtype
  Tensor forward(const Tensor& x, const Tensor& gate) const;

  int64_t group_size;
};
TORCH_MODULE(GatedRMSNorm);

}  // namespace nn
}  // namespace backplane
