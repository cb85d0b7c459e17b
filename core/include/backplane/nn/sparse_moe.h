#pragma once

#include <string>
#include <vector>

#include "backplane/nn/experts.h"
#include "backplane/nn/mlp.h"

namespace backplane::nn {

/// A mixture of gated MLPs: `gate` scores the experts of a token, the best `per_token` of them mix by their softmax,
/// over again among themselves with `normalise`.
class SparseMoeImpl : public Module {
 public:
  SparseMoeImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act, int64_t num_experts,
                int64_t per_token, bool normalise);
  /// x [..., hidden_size] -> its shape; appends the scores [tokens, experts] to `router_logits`.
  Tensor forward(const Tensor& x, std::vector<Tensor>& router_logits);

  int64_t per_token;
  bool normalise;
  Linear gate;
  Layers<GatedMlp> experts;
};
TORCH_MODULE(SparseMoe);

/// One matrix for each expert, weight [experts, out_features, in_features].
class ParallelExpertsImpl : public Module {
 public:
  ParallelExpertsImpl(int64_t num_experts, int64_t in_features, int64_t out_features);
  Tensor forward(int64_t expert, const Tensor& x) const;

  Tensor weight;
};
TORCH_MODULE(ParallelExperts);

/// The router of ParallelExperts: a softmax over the best `per_token` scores of `layer`.
class TopKGatingImpl : public Module {
 public:
  TopKGatingImpl(int64_t hidden_size, int64_t num_experts, int64_t per_token);
  /// tokens [tokens, hidden_size]; appends the scores in float32 to `router_logits`.
  Routing forward(const Tensor& tokens, std::vector<Tensor>& router_logits);

  int64_t per_token;
  Linear layer;
};
TORCH_MODULE(TopKGating);

/// A mixture of gated MLPs whose matrices lie in ParallelExperts: input_linear (gate above up), output_linear, router.
class ParallelMoeImpl : public Module {
 public:
  ParallelMoeImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act, int64_t num_experts,
                  int64_t per_token);
  /// x [..., hidden_size] -> its shape; appends the scores [tokens, experts] to `router_logits`.
  Tensor forward(const Tensor& x, std::vector<Tensor>& router_logits);

  ParallelExperts input_linear, output_linear;
  TopKGating router;
  Activation act;
};
TORCH_MODULE(ParallelMoe);

}  // namespace backplane::nn
