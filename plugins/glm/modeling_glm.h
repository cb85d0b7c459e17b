#pragma once

// GLM-4: GLM Team 2024, https://arxiv.org/abs/2406.12793
// GLM is LLaMA except: half of each head is rotated and pairs are neighbours, only q, k and v have biases, and gate and
// up come from one matrix. Reference: transformers, models/glm/modeling_glm.py

#include "../llama/modeling_llama.h"

namespace backplane::glm {

struct GlmAttentionImpl : llama::LlamaAttentionImpl {
  template <class Config>
  GlmAttentionImpl(const Config& c, size_t layer) : LlamaAttentionImpl(shape_of(c), layer) {}

  template <class Config>
  static llama::AttentionShape shape_of(const Config& c) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.o_bias = false;
    return shape;
  }

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary_interleaved(split_heads(q_proj(x), shape.heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary_interleaved(split_heads(k_proj(x), shape.kv_heads), call.cos, call.sin);
    return o_proj(merge_heads(attend(q, k, split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(GlmAttention);

}  // namespace backplane::glm
