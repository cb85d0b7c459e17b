#pragma once

// Mixtral: Jiang et al. 2024, https://arxiv.org/abs/2401.04088
// Mixtral is Mistral except: each layer's MLP is a mixture of experts, of which a token goes to num_experts_per_tok.
// Reference: transformers, models/mixtral/modeling_mixtral.py

#include "../mistral/modeling_mistral.h"

namespace backplane::mixtral {

// w2(act(w1 x) * w3 x)
struct MixtralBlockSparseTop2MLPImpl : nn::Module {
  nn::Linear w1, w2, w3;
  Activation act;

  template <class Config>
  explicit MixtralBlockSparseTop2MLPImpl(const Config& c)
      : w1(register_module("w1", nn::Linear(c.hidden_size, c.intermediate_size, false))),
        w2(register_module("w2", nn::Linear(c.intermediate_size, c.hidden_size, false))),
        w3(register_module("w3", nn::Linear(c.hidden_size, c.intermediate_size, false))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return w2(act(w1(x)) * w3(x)); }
};
TORCH_MODULE(MixtralBlockSparseTop2MLP);

struct MixtralSparseMoeBlockImpl : nn::Module {
  int64_t per_token;
  double jitter;
  nn::Linear gate;
  nn::Layers<MixtralBlockSparseTop2MLP> experts;

  template <class Config>
  explicit MixtralSparseMoeBlockImpl(const Config& c)
      : per_token(c.num_experts_per_tok),
        jitter(c.router_jitter_noise),
        gate(register_module("gate", nn::Linear(c.hidden_size, c.num_local_experts, false))),
        experts(register_module("experts", nn::Layers<MixtralBlockSparseTop2MLP>(c.num_local_experts, [&](int64_t) {
                                  return MixtralBlockSparseTop2MLP(c);
                                }))) {}

  // x [batch, seq, hidden] -> its shape
  Tensor forward(Tensor x, DecoderCall& call) {
    if (is_training() && jitter > 0) x = x * at::empty_like(x).uniform_(1 - jitter, 1 + jitter);
    const Tensor tokens = x.reshape({-1, x.size(-1)}), router_logits = gate(tokens);
    call.router_logits.push_back(router_logits);
    const Routing routing = route(at::softmax(router_logits, -1, at::kFloat), per_token, true);
    return mix_experts(tokens, routing, router_logits.size(1),
                       [&](int64_t i, const Tensor& rows) { return (*experts)[static_cast<size_t>(i)](rows); })
        .view_as(x);
  }
};
TORCH_MODULE(MixtralSparseMoeBlock);

}  // namespace backplane::mixtral
