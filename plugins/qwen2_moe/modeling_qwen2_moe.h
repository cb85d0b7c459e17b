#pragma once

// Qwen2-MoE: Qwen Team 2024, https://qwenlm.github.io/blog/qwen-moe
// Qwen2-MoE is Qwen2 except: in most layers the MLP is a mixture of experts beside one shared expert with a gate of its
// own. Reference: transformers, models/qwen2_moe/modeling_qwen2_moe.py

#include <backplane/nn/sparse_moe.h>

#include "../llama/modeling_llama.h"

namespace backplane::qwen2_moe {

// A layer of LLaMA's whose MLP is `Moe` where the configuration says is_sparse, and a plain one elsewhere; both are
// "mlp".
template <class Attention, class Moe>
struct MoeDecoderLayerImpl : nn::Module {
  Attention self_attn;
  Moe moe{nullptr};
  nn::GatedMlp mlp{nullptr};
  nn::RMSNorm input_layernorm, post_attention_layernorm;

  template <class Config>
  MoeDecoderLayerImpl(const Config& c, size_t layer)
      : self_attn(register_module("self_attn", Attention(c, layer))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.is_sparse(layer)) {
      moe = register_module("mlp", Moe(c));
    } else {
      mlp = register_module("mlp", nn::GatedMlp(c));
    }
  }

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call);
    const Tensor h = post_attention_layernorm(x);
    return x + (moe ? moe(h, call.router_logits) : mlp(h));
  }
};
template <class Attention, class Moe>
struct MoeDecoderLayer : nn::ModuleHolder<MoeDecoderLayerImpl<Attention, Moe>> {
  using nn::ModuleHolder<MoeDecoderLayerImpl<Attention, Moe>>::ModuleHolder;
};

}  // namespace backplane::qwen2_moe
