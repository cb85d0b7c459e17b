#pragma once

#include "backplane/nn/module.h"

namespace backplane::nn {

/// Attention with linear biases. Press et al. 2021, https://arxiv.org/abs/2108.12409: the slope of each head [heads],
/// in float32: powers of 2^(-8/n) for n heads, n a power of two; else those of the next lower n and every second of
/// 2n's.
Tensor alibi_slopes(int64_t heads);

/// Positions of `kv` keys that count the tokens of attention_mask [batch, kv], 0 at padding: [batch or 1, 1, 1, kv].
/// Undefined: all of `kv` count.
Tensor alibi_positions(const Tensor& attention_mask, int64_t kv);

/// slope * position of each key, [batch or 1, heads, 1, kv], in float32: a bias for scores, which softmax makes one of
/// distances.
Tensor alibi_bias(const Tensor& attention_mask, int64_t heads, int64_t kv);

}  // namespace backplane::nn
