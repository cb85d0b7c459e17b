#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "backplane/config/pretrained_config.h"
#include "backplane/nn/module.h"

// Pure functions that architectures share. Thread-safe.
namespace backplane {

/// weight * x / sqrt(mean(x^2) + eps) over the last dimension, in float32; the result has x's dtype.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

/// An activation by its name in a config: "gelu", "gelu_new", "silu", … Throws `bad_config` for another name.
using Activation = Tensor (*)(const Tensor&);
Activation activation(std::string_view name);

/// x [batch, seq, heads * d] -> [batch, heads, seq, d]
Tensor split_heads(const Tensor& x, int64_t heads);
/// x [batch, heads, seq, d] -> [batch, seq, heads * d]
Tensor merge_heads(const Tensor& x);

struct AttentionOptions {
  Tensor mask = {};     // additive, broadcast to [batch, heads, q, kv]; undefined: everything is seen
  bool causal = false;  // query i sees keys up to i + kv - q; on top of `mask`
  double scale = 0;     // 0: 1 / sqrt(d)
  double softcap = 0;   // scores become softcap * tanh(scores / softcap) before the mask; 0: off
  double dropout = 0;   // of the probabilities; the caller passes 0 outside of training
  AttnImplementation implementation = AttnImplementation::sdpa;
  Tensor* probs = nullptr;  // filled with [batch, heads, q, kv]; implies eager
};

/// softmax(q k^T * scale + mask) v. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762. q [batch, heads, q, d]; k
/// and v [batch, kv_heads, kv, d], where heads is a multiple of kv_heads (grouped queries,
/// https://arxiv.org/abs/2305.13245).
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);

/// attention_mask [batch, kv], 1 where a token counts -> additive [batch, 1, 1, kv]. Undefined where nothing is masked.
Tensor padding_mask(const Tensor& attention_mask, at::ScalarType dtype);

/// Causal and padding mask for `q` new positions after `past` cached ones: additive [batch or 1, 1, q, kv] with kv =
/// past
/// + q. A `window` above 0: a query sees that many positions, its own included, and kv leaves out the cached positions
/// that none sees. attention_mask is [batch, past + q], a ready-made 4-D additive mask (its last kv columns are taken),
/// or undefined. Undefined where nothing is masked.
Tensor causal_mask(const Tensor& attention_mask, int64_t q, int64_t past, at::ScalarType dtype, int64_t window = 0);

/// The same where the kernels may know the causal part themselves: either `mask` or `causal` for `attention`.
struct CausalMask {
  Tensor mask = {};
  bool causal = false;
};
CausalMask decoder_mask(const Tensor& attention_mask, int64_t q, int64_t past, at::ScalarType dtype,
                        int64_t window = 0);

/// Additive mask: the dtype's lowest number where `masked` is true, 0 elsewhere.
Tensor lowest_where(const Tensor& masked, at::ScalarType dtype);
/// The sum of two additive masks, kept above -inf: a row of nothing but -inf has no softmax. Either may be undefined.
Tensor combine_masks(const Tensor& a, const Tensor& b);

/// x [batch, seq, n] at each row's last token that is not `pad_token_id` -> [batch, n]; the last column where ids are
/// undefined. Throws `invalid_value` for more than one row without a padding id.
Tensor last_tokens(const Tensor& x, const Tensor& input_ids, std::optional<int64_t> pad_token_id);

/// mean cross entropy of logits [..., classes] and labels [...], ignoring -100, in float32.
Tensor cross_entropy(const Tensor& logits, const Tensor& labels, int64_t ignore_index = -100);

/// Next-token loss: position i of logits [batch, seq, vocab] predicts label i + 1 of labels [batch, seq].
Tensor causal_lm_loss(const Tensor& logits, const Tensor& labels);

/// Loss of a classification head by `problem_type`, which is guessed from the labels where it is not set:
/// regression, single_label_classification or multi_label_classification.
Tensor classification_loss(const Tensor& logits, const Tensor& labels, const PretrainedConfig& config);

/// Mean of the losses of start and end; positions outside of the sequence are ignored. logits [batch, seq], positions
/// [batch].
Tensor span_loss(const Tensor& start_logits, const Tensor& end_logits, const Tensor& start_positions,
                 const Tensor& end_positions);

}  // namespace backplane
