#pragma once

#include <backplane/model/encoder_heads.h>
#include <backplane/model/transformer.h>

#include "configuration_gpt2.h"

// GPT-2: Radford et al. 2019,
// https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf Pre-norm
// decoder with learned positions; weights of its maps are stored the other way round (Conv1D). May attend to an
// encoder's states. Token types are looked up among the words. Reference: transformers, models/gpt2/modeling_gpt2.py
namespace backplane::gpt2 {

struct GPT2AttentionImpl : nn::Module {
  const GPT2Config& c;
  size_t layer;
  bool is_cross;
  nn::Conv1D c_attn, c_proj, q_attn{nullptr};
  nn::Dropout resid_dropout;

  GPT2AttentionImpl(const GPT2Config& config, size_t layer, bool is_cross)
      : c(config),
        layer(layer),
        is_cross(is_cross),
        c_attn(register_module("c_attn", nn::Conv1D((is_cross ? 2 : 3) * c.n_embd, c.n_embd))),
        c_proj(register_module("c_proj", nn::Conv1D(c.n_embd, c.n_embd))),
        resid_dropout(register_module("resid_dropout", nn::Dropout(c.resid_pdrop))) {
    if (is_cross) q_attn = register_module("q_attn", nn::Conv1D(c.n_embd, c.n_embd));
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, TransformerCall& call) {
    AttentionOptions options{.scale = scale(call), .dropout = is_training() ? c.attn_pdrop : 0};
    const bool wide = c.reorder_and_upcast_attn && runs_eager(call);
    const auto up = [&](const Tensor& t) { return wide ? t.to(at::kFloat) : t; };
    Tensor y;
    if (is_cross) {
      const Tensor q = split_heads(q_attn(x), c.n_head);
      const auto [k, v] = call.encoded(layer, [&](const Tensor& states) {
        const auto kv = c_attn(states).chunk(2, -1);
        return std::pair(split_heads(kv[0], c.n_head), split_heads(kv[1], c.n_head));
      });
      y = call.attend_encoder(layer, up(q), up(k), up(v), options);
    } else {
      const auto qkv = c_attn(x).chunk(3, -1);
      const auto [k, v] = call.append(layer, split_heads(qkv[1], c.n_head), split_heads(qkv[2], c.n_head));
      y = call.attend(layer, up(split_heads(qkv[0], c.n_head)), up(k), up(v), options);
    }
    return resid_dropout(c_proj(merge_heads(y).to(x.scalar_type())));
  }

  // The fused kernels of the reference know no masked heads and hand out no probabilities.
  bool runs_eager(const TransformerCall& call) const {
    return c.attn_implementation == AttnImplementation::eager || call.wants_attentions() || call.head_mask.defined();
  }

  // They do not look at the config's two switches either; 0 is 1 / sqrt(d).
  double scale(const TransformerCall& call) const {
    if (!runs_eager(call)) return 0;
    const double by_size = c.scale_attn_weights ? std::sqrt(static_cast<double>(c.n_embd / c.n_head)) : 1;
    return 1 / (by_size * static_cast<double>(c.scale_attn_by_inverse_layer_idx ? layer + 1 : 1));
  }
};
TORCH_MODULE(GPT2Attention);

struct GPT2MLPImpl : nn::Module {
  nn::Conv1D c_fc, c_proj;
  Activation act;
  nn::Dropout dropout;

  explicit GPT2MLPImpl(const GPT2Config& c)
      : c_fc(register_module("c_fc", nn::Conv1D(c.inner_size(), c.n_embd))),
        c_proj(register_module("c_proj", nn::Conv1D(c.n_embd, c.inner_size()))),
        act(activation(c.activation_function)),
        dropout(register_module("dropout", nn::Dropout(c.resid_pdrop))) {}

  Tensor forward(const Tensor& x) { return dropout(c_proj(act(c_fc(x)))); }
};
TORCH_MODULE(GPT2MLP);

struct GPT2BlockImpl : nn::Module {
  nn::LayerNorm ln_1, ln_2, ln_cross_attn{nullptr};
  GPT2Attention attn, crossattention{nullptr};
  GPT2MLP mlp;

  GPT2BlockImpl(const GPT2Config& c, size_t layer)
      : ln_1(register_module("ln_1", nn::LayerNorm(c.n_embd, c.layer_norm_epsilon))),
        ln_2(register_module("ln_2", nn::LayerNorm(c.n_embd, c.layer_norm_epsilon))),
        attn(register_module("attn", GPT2Attention(c, layer, false))),
        mlp(register_module("mlp", GPT2MLP(c))) {
    if (c.add_cross_attention) {
      crossattention = register_module("crossattention", GPT2Attention(c, layer, true));
      ln_cross_attn = register_module("ln_cross_attn", nn::LayerNorm(c.n_embd, c.layer_norm_epsilon));
    }
  }

  Tensor forward(Tensor x, TransformerCall& call) {
    x = x + attn(ln_1(x), call);
    if (call.encoder.defined()) x = x + crossattention(ln_cross_attn(x), call);
    return x + mlp(ln_2(x));
  }
};
TORCH_MODULE(GPT2Block);

inline constexpr auto kArguments = extend(kTransformerArguments, "cache_position");

template <class PreTrained>
struct GPT2ModelOf : PreTrained {
  using Config = typename PreTrained::Config;

  const Config& c;
  nn::Embedding wte, wpe;
  nn::Dropout drop;
  nn::Layers<GPT2Block> h;
  nn::LayerNorm ln_f;

  explicit GPT2ModelOf(const Config& config)
      : PreTrained(config),
        c(config),
        wte(this->register_module("wte", nn::Embedding(c.vocab_size, c.n_embd))),
        wpe(this->register_module("wpe", nn::Embedding(c.n_positions, c.n_embd))),
        drop(this->register_module("drop", nn::Dropout(c.embd_pdrop))),
        h(this->register_module(
            "h", nn::Layers<GPT2Block>(c.n_layer, [&](int64_t i) { return GPT2Block(c, static_cast<size_t>(i)); }))),
        ln_f(this->register_module("ln_f", nn::LayerNorm(c.n_embd, c.layer_norm_epsilon))) {}

  nn::Embedding get_input_embeddings() override { return wte; }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    TransformerCall call(inputs, c, {.layers = c.n_layer, .heads = c.n_head, .causal = true, .use_cache = c.use_cache});
    const Tensor ids = inputs.tensor("input_ids"), types = inputs.tensor("token_type_ids");
    Tensor positions = inputs.tensor("position_ids");
    if (!positions.defined()) positions = at::arange(call.past, call.past + call.seq, at::kLong).unsqueeze(0);
    Tensor x = (ids.defined() ? wte(ids) : inputs["inputs_embeds"]) + wpe(positions);
    if (types.defined()) x = x + wte(types);
    x = drop(x);
    call.start(x);
    for (auto& block : *h) {
      call.see(x);
      x = block(x, call);
    }
    x = ln_f(x);
    call.see(x);
    return call.finish(x);
  }
};

}  // namespace backplane::gpt2
