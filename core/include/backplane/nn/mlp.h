#pragma once

#include <string>

#include "backplane/nn/layers.h"
#include "backplane/nn/ops.h"

namespace backplane::nn {

/// down_proj(act(gate_proj(x)) * up_proj(x)). Shazeer 2020, https://arxiv.org/abs/2002.05202.
class GatedMlpImpl : public Module {
 public:
  GatedMlpImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act, bool with_bias = false);
  /// Sizes and activation of a configuration.
  template <class Config>
  explicit GatedMlpImpl(const Config& c) : GatedMlpImpl(c.hidden_size, c.intermediate_size, c.hidden_act) {}
  /// x [..., hidden_size] -> [..., hidden_size]
  Tensor forward(const Tensor& x) const;

  Linear gate_proj, up_proj, down_proj;
  Activation act;
};
TORCH_MODULE(GatedMlp);

/// The same with gate_proj above up_proj in one matrix, gate_up_proj.
class FusedGatedMlpImpl : public Module {
 public:
  FusedGatedMlpImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act);
  template <class Config>
  explicit FusedGatedMlpImpl(const Config& c) : FusedGatedMlpImpl(c.hidden_size, c.intermediate_size, c.hidden_act) {}
  /// x [..., hidden_size] -> [..., hidden_size]
  Tensor forward(const Tensor& x) const;

  Linear gate_up_proj, down_proj;
  Activation act;
};
TORCH_MODULE(FusedGatedMlp);

}  // namespace backplane::nn
