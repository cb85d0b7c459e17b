#pragma once

#include <functional>
#include <vector>

#include "backplane/nn/module.h"

// What mixtures of experts share. Shazeer et al. 2017, https://arxiv.org/abs/1701.06538. Pure functions, thread-safe.
namespace backplane {

/// The experts of each token and their weights, both [tokens, k].
struct Routing {
  Tensor weights;
  Tensor experts;
};

/// The k largest of `scores` [tokens, experts] a token; `normalise`: weights of a token sum to 1. Weights keep the
/// scores' dtype.
Routing route(const Tensor& scores, int64_t k, bool normalise);

/// The weighted sum of each token's experts. x [tokens, hidden] -> [tokens, hidden of the experts]. `expert(i, rows)`
/// maps the tokens of expert i, [count, hidden], all at once, and is called for experts that have any, in their order.
Tensor mix_experts(const Tensor& x, const Routing& routing, int64_t num_experts,
                   const std::function<Tensor(int64_t, const Tensor&)>& expert);

/// Auxiliary loss against unbalanced routing. Fedus et al. 2021, https://arxiv.org/abs/2101.03961, (4) to (6).
/// router_logits: [batch * seq, experts] a layer; attention_mask [batch, seq] or undefined.
Tensor load_balancing_loss(const std::vector<Tensor>& router_logits, int64_t k, const Tensor& attention_mask);

/// Throws `bad_config` unless 0 < per_token <= experts.
void check_experts(int64_t experts, int64_t per_token);

}  // namespace backplane
