#pragma once

// Cohere's Command-R: https://cohere.com/blog/command-r
// Command-R is LLaMA except: attention and MLP run side by side behind one LayerNorm without bias, rotary positions
// pair neighbours, heads of q and k may have norms, and logits are scaled. Reference: transformers,
// models/cohere/modeling_cohere.py

#include "../llama/modeling_llama.h"

namespace backplane::cohere {

// x + attention(norm(x)) + mlp(norm(x))
template <class Attention>
struct CohereDecoderLayerImpl : nn::Module {
  Attention self_attn;
  nn::GatedMlp mlp;
  nn::LayerNorm input_layernorm;

  template <class Config>
  CohereDecoderLayerImpl(const Config& c, size_t layer)
      : self_attn(register_module("self_attn", Attention(c, layer))),
        mlp(register_module("mlp", nn::GatedMlp(c))),
        input_layernorm(register_module("input_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps, false))) {}

  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor h = input_layernorm(x);
    return x + self_attn(h, call) + mlp(h);
  }
};
template <class Attention>
struct CohereDecoderLayer : nn::ModuleHolder<CohereDecoderLayerImpl<Attention>> {
  using nn::ModuleHolder<CohereDecoderLayerImpl<Attention>>::ModuleHolder;
};

struct CohereLayerNormImpl : nn::LayerNormImpl {
  CohereLayerNormImpl(int64_t size, double eps) : LayerNormImpl(size, eps, false) {}
};
TORCH_MODULE(CohereLayerNorm);

}  // namespace backplane::cohere
