#pragma once

// Granite MoE with shared experts: IBM Granite Team 2025, https://github.com/ibm-granite
// GraniteMoeShared is GraniteMoe except: each layer may have a shared expert beside the mixture.
// Reference: transformers, models/granitemoeshared/modeling_granitemoeshared.py

#include "../granitemoe/modeling_granitemoe.h"

namespace backplane::granitemoeshared {

// output_linear(act(gate) * up), gate above up in input_linear.
struct GraniteMoeSharedMLPImpl : nn::Module {
  nn::Linear input_linear, output_linear;
  Activation act;

  template <class Config>
  explicit GraniteMoeSharedMLPImpl(const Config& c)
      : input_linear(register_module("input_linear", nn::Linear(c.hidden_size, 2 * c.shared_intermediate_size, false))),
        output_linear(register_module("output_linear", nn::Linear(c.shared_intermediate_size, c.hidden_size, false))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) {
    const auto parts = input_linear(x).chunk(2, -1);
    return output_linear(act(parts[0]) * parts[1]);
  }
};
TORCH_MODULE(GraniteMoeSharedMLP);

}  // namespace backplane::granitemoeshared
