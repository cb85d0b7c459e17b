#pragma once

// Granite 3.0 MoE: IBM Granite Team 2024, https://github.com/ibm-granite/granite-3.0-language-models
// GraniteMoe is Granite except: the MLP is a mixture of experts, and there may be no positions at all.
// Reference: transformers, models/granitemoe/modeling_granitemoe.py

#include <backplane/nn/sparse_moe.h>

#include "../granite/modeling_granite.h"

namespace backplane::granitemoe {

struct GraniteMoeAttentionImpl : granite::GraniteAttentionImpl {
  using GraniteAttentionImpl::GraniteAttentionImpl;

  // x [batch, seq, hidden] -> its shape
  Tensor forward(const Tensor& x, DecoderCall& call) {
    if (call.cos.defined()) return GraniteAttentionImpl::forward(x, call);
    return o_proj(merge_heads(attend(split_heads(q_proj(x), shape.heads), split_heads(k_proj(x), shape.kv_heads),
                                     split_heads(v_proj(x), shape.kv_heads), call)));
  }
};
TORCH_MODULE(GraniteMoeAttention);

// The base model over a layer that is made from (config, index).
template <class PreTrained, class Layer>
struct GraniteMoeModelOf : PreTrained {
  using Config = typename PreTrained::Config;

  const Config& c;
  std::optional<nn::RotaryEmbedding> rotary;
  nn::Embedding embed_tokens;
  nn::Layers<Layer> layers;
  nn::RMSNorm norm;

  explicit GraniteMoeModelOf(const Config& config)
      : PreTrained(config),
        c(config),
        embed_tokens(this->register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(this->register_module(
            "layers",
            nn::Layers<Layer>(c.num_hidden_layers, [&](int64_t i) { return Layer(c, static_cast<size_t>(i)); }))),
        norm(this->register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {
    if (c.position_embedding_type == "rope") rotary.emplace(rotary_options(c, head_dim_of(c)));
  }

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kMoeDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    call.wants_router_logits = inputs.flag("output_router_logits", c.output_router_logits);
    if (rotary) std::tie(call.cos, call.sin) = rotary->forward(call.positions);
    Tensor x = call.x * c.embedding_multiplier;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

}  // namespace backplane::granitemoe
