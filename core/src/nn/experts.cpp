#include "backplane/nn/experts.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

Routing route(const Tensor& scores, int64_t k, bool normalise) {
  auto [weights, experts] = scores.topk(k, -1);
  if (normalise) weights = weights / weights.sum(-1, true);
  return {weights, experts};
}

Tensor mix_experts(const Tensor& x, const Routing& routing, int64_t num_experts,
                   const std::function<Tensor(int64_t, const Tensor&)>& expert) {
  const int64_t k = routing.experts.size(1);
  // Sorted by expert, the rows of each lie together: one gather before, one scatter behind.
  const auto [sorted, order] = routing.experts.reshape({-1}).sort(/*stable=*/true, 0, false);
  const Tensor counts = at::bincount(sorted, {}, num_experts), tokens = at::floor_divide(order, k);
  const Tensor rows = x.index_select(0, tokens);
  const auto* count = counts.const_data_ptr<int64_t>();
  std::vector<Tensor> results;
  int64_t begin = 0;
  for (int64_t i = 0; i < num_experts; ++i) {
    if (count[i] == 0) continue;
    results.push_back(expert(i, rows.slice(0, begin, begin + count[i])));
    begin += count[i];
  }
  const Tensor weights = routing.weights.reshape({-1}).index_select(0, order).to(x.scalar_type());
  const Tensor y = at::cat(results) * weights.unsqueeze(1);
  return at::zeros({x.size(0), y.size(1)}, y.options()).index_add(0, tokens, y);
}

Tensor load_balancing_loss(const std::vector<Tensor>& router_logits, int64_t k, const Tensor& attention_mask) {
  const Tensor probs = at::softmax(at::cat(router_logits), -1);  // [layers * tokens, experts]
  const int64_t experts = probs.size(1);
  const Tensor chosen = at::one_hot(std::get<1>(probs.topk(k, -1)), experts).to(probs.scalar_type());
  Tensor weight = at::ones({probs.size(0), 1}, probs.options());
  if (attention_mask.defined()) {
    weight = attention_mask.reshape({-1, 1}).to(probs.scalar_type());
    weight = weight.repeat({probs.size(0) / weight.size(0), 1});
  }
  const Tensor share = (chosen * weight.unsqueeze(1)).sum(0) / weight.sum();  // [k, experts]
  const Tensor mean = (probs * weight).sum(0) / weight.sum();                 // [experts]
  return (share * mean).sum() * experts;
}

void check_experts(int64_t experts, int64_t per_token) {
  if (per_token <= 0 || per_token > experts) {
    throw Error(ErrorCode::bad_config, concat("config.json: a token goes to ", per_token, " of ", experts,
                                              " experts; expected 1 to ", experts));
  }
}

}  // namespace backplane
