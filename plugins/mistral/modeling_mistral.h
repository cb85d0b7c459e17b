#pragma once

// Mistral: Jiang et al. 2023, https://arxiv.org/abs/2310.06825
// Mistral is LLaMA except: each position sees the last `sliding_window` ones only, and there are no biases.
// Reference: transformers, models/mistral/modeling_mistral.py

#include "../llama/modeling_llama.h"

namespace backplane::mistral {

struct MistralAttentionImpl : llama::LlamaAttentionImpl {
  template <class Config>
  MistralAttentionImpl(const Config& c, size_t layer) : LlamaAttentionImpl(windowed(c), layer) {}

  template <class Config>
  static llama::AttentionShape windowed(const Config& c) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.window = c.sliding_window.value_or(0);
    return shape;
  }
};
TORCH_MODULE(MistralAttention);

}  // namespace backplane::mistral
