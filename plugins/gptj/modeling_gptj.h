#pragma once

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_gptj.h"

// GPT-J: Wang and Komatsuzaki 2021, https://github.com/kingoflolz/mesh-transformer-jax
// Decoder whose attention and feed-forward part run side by side after one norm; rotary positions of neighbouring pairs
// in the first numbers of each head. Reference: transformers, models/gptj/modeling_gptj.py
namespace backplane::gptj {

// Cosines and sines of a call's positions, [batch, seq, rotary_dim / 2].
struct Rotation {
  Tensor cos, sin;
};

// x [batch, heads, seq, d], its first numbers rotated pair by pair.
inline Tensor rotated(const Tensor& x, const Rotation& r) { return nn::apply_rotary_interleaved(x, r.cos, r.sin); }

struct GPTJMLPImpl : nn::Module {
  nn::Linear fc_in, fc_out;
  Activation act;
  nn::Dropout dropout;

  template <class Config>
  explicit GPTJMLPImpl(const Config& c)
      : fc_in(register_module("fc_in", nn::Linear(c.n_embd, c.inner_size()))),
        fc_out(register_module("fc_out", nn::Linear(c.inner_size(), c.n_embd))),
        act(activation(c.activation_function)),
        dropout(register_module("dropout", nn::Dropout(c.resid_pdrop))) {}

  Tensor forward(const Tensor& x) { return dropout(fc_out(act(fc_in(x)))); }
};
TORCH_MODULE(GPTJMLP);

// A block over any attention that is made from (config, layer) and called with (x, rotation, call).
template <class Attention>
struct GPTJBlockImpl : nn::Module {
  nn::LayerNorm ln_1;
  Attention attn;
  GPTJMLP mlp;

  template <class Config>
  GPTJBlockImpl(const Config& c, size_t layer)
      : ln_1(register_module("ln_1", nn::LayerNorm(c.n_embd, c.layer_norm_epsilon))),
        attn(register_module("attn", Attention(c, layer))),
        mlp(register_module("mlp", GPTJMLP(c))) {}

  Tensor forward(const Tensor& x, const Rotation& rotation, TransformerCall& call) {
    const Tensor normed = ln_1(x);
    return attn(normed, rotation, call) + mlp(normed) + x;
  }
};
template <class Attention>
struct GPTJBlock : nn::ModuleHolder<GPTJBlockImpl<Attention>> {
  using nn::ModuleHolder<GPTJBlockImpl<Attention>>::ModuleHolder;
};

template <class PreTrained, class Attention>
struct GPTJModelOf : PreTrained {
  using Config = typename PreTrained::Config;

  const Config& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding wte;
  nn::Dropout drop;
  nn::Layers<GPTJBlock<Attention>> h;
  nn::LayerNorm ln_f;

  explicit GPTJModelOf(const Config& config)
      : PreTrained(config),
        c(config),
        rotary({.dim = c.rotated(), .max_position_embeddings = c.n_positions}),
        wte(this->register_module("wte", nn::Embedding(c.vocab_size, c.n_embd))),
        drop(this->register_module("drop", nn::Dropout(c.embd_pdrop))),
        h(this->register_module(
            "h", nn::Layers<GPTJBlock<Attention>>(
                     c.n_layer, [&](int64_t i) { return GPTJBlock<Attention>(c, static_cast<size_t>(i)); }))),
        ln_f(this->register_module("ln_f", nn::LayerNorm(c.n_embd, c.layer_norm_epsilon))) {}

  nn::Embedding get_input_embeddings() override { return wte; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kEncoderArguments, "past_key_values", "use_cache", "cache_position");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c, {.layers = c.n_layer, .heads = c.n_head, .causal = true, .use_cache = c.use_cache});
    const Tensor ids = inputs.tensor("input_ids"), types = inputs.tensor("token_type_ids");
    Tensor positions = inputs.tensor("position_ids");
    if (!positions.defined()) positions = at::arange(call.past, call.past + call.seq, at::kLong).unsqueeze(0);
    const auto [cos, sin] = rotary.forward(positions);
    Tensor x = ids.defined() ? wte(ids) : inputs["inputs_embeds"];
    if (types.defined()) x = x + wte(types);
    x = drop(x);
    call.start(x);
    for (auto& block : *h) {
      call.see(x);
      x = block(x, Rotation{cos, sin}, call);
    }
    x = ln_f(x);
    call.see(x);
    return call.finish(x);
  }
};

}  // namespace backplane::gptj
