#include "backplane/nn/mlp.h"

namespace backplane::nn {

GatedMlpImpl::GatedMlpImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act, bool with_bias)
    : gate_proj(register_module("gate_proj", Linear(hidden_size, intermediate_size, with_bias))),
      up_proj(register_module("up_proj", Linear(hidden_size, intermediate_size, with_bias))),
      down_proj(register_module("down_proj", Linear(intermediate_size, hidden_size, with_bias))),
      act(activation(act)) {}

Tensor GatedMlpImpl::forward(const Tensor& x) const {
  return down_proj->forward(act(gate_proj->forward(x)) * up_proj->forward(x));
}

FusedGatedMlpImpl::FusedGatedMlpImpl(int64_t hidden_size, int64_t intermediate_size, const std::string& act)
    : gate_up_proj(register_module("gate_up_proj", Linear(hidden_size, 2 * intermediate_size, false))),
      down_proj(register_module("down_proj", Linear(intermediate_size, hidden_size, false))),
      act(activation(act)) {}

Tensor FusedGatedMlpImpl::forward(const Tensor& x) const {
  const auto parts = gate_up_proj->forward(x).chunk(2, -1);
  return down_proj->forward(act(parts[0]) * parts[1]);
}

}  // namespace backplane::nn
