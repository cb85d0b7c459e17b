#pragma once

// Granite: IBM Granite Team 2024, https://github.com/ibm-granite/granite-3.0-language-models
// Granite is LLaMA except: embeddings, attention scores, each block's output and the logits are scaled by numbers of
// the configuration. Reference: transformers, models/granite/modeling_granite.py

#include "../llama/modeling_llama.h"

namespace backplane::granite {

struct GraniteAttentionImpl : llama::LlamaAttentionImpl {
  template <class Config>
  GraniteAttentionImpl(const Config& c, size_t layer) : LlamaAttentionImpl(scaled(c), layer) {}

  template <class Config>
  static llama::AttentionShape scaled(const Config& c) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.scale = c.attention_multiplier;
    return shape;
  }
};
TORCH_MODULE(GraniteAttention);

}  // namespace backplane::granite
