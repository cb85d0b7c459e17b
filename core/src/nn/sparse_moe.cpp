#include "backplane/nn/sparse_moe.h"

#include "backplane/nn/uninitialised.h"

namespace backplane::nn {

SparseMoeImpl::SparseMoeImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act,
                             int64_t num_experts, int64_t per_token, bool normalise)
    : per_token(per_token),
      normalise(normalise),
      gate(register_module("gate", Linear(hidden_size, num_experts, false))),
      experts(register_module("experts", Layers<GatedMlp>(num_experts, [&](int64_t) {
                                return GatedMlp(hidden_size, intermediate_size, act);
                              }))) {}

Tensor SparseMoeImpl::forward(const Tensor& x, std::vector<Tensor>& router_logits) {
  const Tensor tokens = x.reshape({-1, x.size(-1)}), scores = gate->forward(tokens);
  router_logits.push_back(scores);
  const Routing routing = route(at::softmax(scores, -1, at::kFloat), per_token, normalise);
  return mix_experts(tokens, routing, scores.size(1),
                     [&](int64_t i, const Tensor& rows) { return (*experts)[static_cast<size_t>(i)]->forward(rows); })
      .view_as(x);
}

ParallelExpertsImpl::ParallelExpertsImpl(int64_t num_experts, int64_t in_features, int64_t out_features)
    : weight(register_parameter("weight", uninitialised({num_experts, out_features, in_features}))) {}

Tensor ParallelExpertsImpl::forward(int64_t expert, const Tensor& x) const {
  return at::linear(x, weight.select(0, expert));
}

TopKGatingImpl::TopKGatingImpl(int64_t hidden_size, int64_t num_experts, int64_t per_token)
    : per_token(per_token), layer(register_module("layer", Linear(hidden_size, num_experts, false))) {}

Routing TopKGatingImpl::forward(const Tensor& tokens, std::vector<Tensor>& router_logits) {
  const Tensor scores = layer->forward(tokens).to(at::kFloat);
  router_logits.push_back(scores);
  const auto [best, experts] = scores.topk(per_token, 1);
  return {at::softmax(best, 1).to(tokens.scalar_type()), experts};
}

ParallelMoeImpl::ParallelMoeImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act,
                                 int64_t num_experts, int64_t per_token)
    : input_linear(register_module("input_linear", ParallelExperts(num_experts, hidden_size, 2 * intermediate_size))),
      output_linear(register_module("output_linear", ParallelExperts(num_experts, intermediate_size, hidden_size))),
      router(register_module("router", TopKGating(hidden_size, num_experts, per_token))),
      act(activation(act)) {}

Tensor ParallelMoeImpl::forward(const Tensor& x, std::vector<Tensor>& router_logits) {
  const Tensor tokens = x.reshape({-1, x.size(-1)});
  const Routing routing = router->forward(tokens, router_logits);
  return mix_experts(tokens, routing, router->layer->weight.size(0),
                     [&](int64_t i, const Tensor& rows) {
                       const auto parts = input_linear->forward(i, rows).chunk(2, -1);
                       return output_linear->forward(i, act(parts[0]) * parts[1]);
                     })
      .view_as(x);
}

}  // namespace backplane::nn
