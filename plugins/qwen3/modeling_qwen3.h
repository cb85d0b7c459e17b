#pragma once

// Qwen3: Qwen Team 2025, https://arxiv.org/abs/2505.09388
// Qwen3 is LLaMA except: the heads of q and k are normalised before rotation, and layers from max_window_layers on may
// have a sliding window. Reference: transformers, models/qwen3/modeling_qwen3.py

#include "../llama/modeling_llama.h"

namespace backplane::qwen3 {

struct Qwen3AttentionImpl : llama::LlamaAttentionImpl {
  nn::RMSNorm q_norm, k_norm;

  Qwen3AttentionImpl(const llama::AttentionShape& shape, double eps, size_t layer)
      : LlamaAttentionImpl(shape, layer),
        q_norm(register_module("q_norm", nn::RMSNorm(shape.head_dim, eps))),
        k_norm(register_module("k_norm", nn::RMSNorm(shape.head_dim, eps))) {}

  template <class Config>
  Qwen3AttentionImpl(const Config& c, size_t layer) : Qwen3AttentionImpl(shape_of(c, layer), c.rms_norm_eps, layer) {}

  template <class Config>
  static llama::AttentionShape shape_of(const Config& c, size_t layer) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.window = c.window(layer);
    return shape;
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = q_norm(q_proj(x).unflatten(-1, {shape.heads, shape.head_dim})).transpose(1, 2);
    const Tensor k = k_norm(k_proj(x).unflatten(-1, {shape.kv_heads, shape.head_dim})).transpose(1, 2);
    const Tensor v = split_heads(v_proj(x), shape.kv_heads);
    return o_proj(
        merge_heads(attend(nn::apply_rotary(q, call.cos, call.sin), nn::apply_rotary(k, call.cos, call.sin), v, call)));
  }
};
TORCH_MODULE(Qwen3Attention);

}  // namespace backplane::qwen3
