#pragma once

#include <backplane/model/decoder.h>
#include <backplane/model/moe_heads.h>
#include <backplane/nn/mlp.h>

#include "configuration_llama.h"

// LLaMA: Touvron et al. 2023, https://arxiv.org/abs/2302.13971
// Pre-norm decoder with RMSNorm, rotary positions, grouped queries and a gated MLP; no biases unless the config asks.
// Its attention, layer and base model take what a sibling replaces: see plugins/mistral for how.
// Reference: transformers, models/llama/modeling_llama.py
namespace backplane::llama {

struct AttentionShape {
  int64_t hidden_size, heads, kv_heads, head_dim;
  bool qkv_bias = false, o_bias = false;
  double dropout = 0;
  double scale = 0;    // 0: 1 / sqrt(head_dim)
  int64_t window = 0;  // 0: the whole past
};

// What a configuration of LLaMA's keys says; biases where it has attention_bias.
template <class Config>
AttentionShape attention_shape(const Config& c) {
  AttentionShape shape = {.hidden_size = c.hidden_size,
                          .heads = c.num_attention_heads,
                          .kv_heads = std::optional<int64_t>(c.num_key_value_heads).value_or(c.num_attention_heads),
                          .head_dim = head_dim_of(c),
                          .dropout = c.attention_dropout};
  if constexpr (requires { c.attention_bias; }) shape.qkv_bias = shape.o_bias = c.attention_bias;
  return shape;
}

struct LlamaAttentionImpl : nn::Module {
  AttentionShape shape;
  size_t layer;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  LlamaAttentionImpl(const AttentionShape& s, size_t layer)
      : shape(s),
        layer(layer),
        q_proj(register_module("q_proj", nn::Linear(s.hidden_size, s.heads * s.head_dim, s.qkv_bias))),
        k_proj(register_module("k_proj", nn::Linear(s.hidden_size, s.kv_heads * s.head_dim, s.qkv_bias))),
        v_proj(register_module("v_proj", nn::Linear(s.hidden_size, s.kv_heads * s.head_dim, s.qkv_bias))),
        o_proj(register_module("o_proj", nn::Linear(s.heads * s.head_dim, s.hidden_size, s.o_bias))) {}

  template <class Config>
  LlamaAttentionImpl(const Config& c, size_t layer) : LlamaAttentionImpl(attention_shape(c), layer) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), shape.heads), call.cos, call.sin);
    const Tensor k = nn::apply_rotary(split_heads(k_proj(x), shape.kv_heads), call.cos, call.sin);
    return o_proj(merge_heads(attend(q, k, split_heads(v_proj(x), shape.kv_heads), call)));
  }

  // q [batch, heads, seq, head_dim], k and v [batch, kv_heads, seq, head_dim] -> q's shape
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, DecoderCall& call) {
    return call.attend(layer, q, k, v, {.scale = shape.scale, .dropout = is_training() ? shape.dropout : 0},
                       shape.window);
  }
};
TORCH_MODULE(LlamaAttention);

// x + attention(norm(x)), then x + mlp(norm(x)).
template <class Attention, class Mlp, class Norm = nn::RMSNorm>
struct LlamaDecoderLayerImpl : nn::Module {
  Attention self_attn;
  Mlp mlp;
  Norm input_layernorm, post_attention_layernorm;

  template <class Config>
  LlamaDecoderLayerImpl(const Config& c, size_t layer)
      : self_attn(register_module("self_attn", Attention(c, layer))),
        mlp(register_module("mlp", Mlp(c))),
        input_layernorm(register_module("input_layernorm", Norm(c.hidden_size, c.norm_eps()))),
        post_attention_layernorm(register_module("post_attention_layernorm", Norm(c.hidden_size, c.norm_eps()))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + self_attn(input_layernorm(x), call);
    return x + mlp(post_attention_layernorm(x));
  }
};
template <class Attention, class Mlp, class Norm = nn::RMSNorm>
struct LlamaDecoderLayer : nn::ModuleHolder<LlamaDecoderLayerImpl<Attention, Mlp, Norm>> {
  using nn::ModuleHolder<LlamaDecoderLayerImpl<Attention, Mlp, Norm>>::ModuleHolder;
};

// The base model over any layer that is made from (config, index) and called with (x, call).
template <class PreTrained, class Layer, class Norm = nn::RMSNorm>
struct LlamaModelOf : PreTrained {
  using Config = typename PreTrained::Config;

  const Config& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<Layer> layers;
  Norm norm;

  explicit LlamaModelOf(const Config& config, const char* norm_name = "norm")
      : PreTrained(config),
        c(config),
        rotary(rotary_options(c, head_dim_of(c))),
        embed_tokens(this->register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(this->register_module(
            "layers", nn::Layers<Layer>(c.num_hidden_layers, [&](int64_t i) { return Layer(c, size_t(i)); }))),
        norm(this->register_module(norm_name, Norm(c.hidden_size, c.norm_eps()))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override {
    if constexpr (requires { c.output_router_logits; }) return kMoeDecoderArguments;
    return kDecoderArguments;
  }

  // What becomes of the embeddings before the first layer.
  virtual Tensor embedded(const Tensor& x) { return x; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    if constexpr (requires { c.output_router_logits; })
      call.wants_router_logits = inputs.flag("output_router_logits", c.output_router_logits);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    Tensor x = embedded(call.x);
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

// llama.cpp stores the rows of q and k in the order of interleaved rotary positions.
inline GgufMapping gguf_mapping(std::string_view architecture = "llama", std::string_view model_type = "llama") {
  return {.architecture = architecture,
          .model_type = model_type,
          .keys = {{"context_length", "max_position_embeddings"},
                   {"block_count", "num_hidden_layers"},
                   {"feed_forward_length", "intermediate_size"},
                   {"embedding_length", "hidden_size"},
                   {"rope.dimension_count", "head_dim"},
                   {"rope.freq_base", "rope_theta"},
                   {"attention.head_count", "num_attention_heads"},
                   {"attention.head_count_kv", "num_key_value_heads"},
                   {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
                   {"vocab_size", "vocab_size"}},
          .tensors = {{"token_embd", "model.embed_tokens"},
                      {"blk.{n}.attn_norm", "model.layers.{n}.input_layernorm"},
                      {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj", GgufTransform::unpermute_heads},
                      {"blk.{n}.attn_k", "model.layers.{n}.self_attn.k_proj", GgufTransform::unpermute_kv_heads},
                      {"blk.{n}.attn_v", "model.layers.{n}.self_attn.v_proj"},
                      {"blk.{n}.attn_output", "model.layers.{n}.self_attn.o_proj"},
                      {"blk.{n}.ffn_norm", "model.layers.{n}.post_attention_layernorm"},
                      {"blk.{n}.ffn_gate", "model.layers.{n}.mlp.gate_proj"},
                      {"blk.{n}.ffn_up", "model.layers.{n}.mlp.up_proj"},
                      {"blk.{n}.ffn_down", "model.layers.{n}.mlp.down_proj"},
                      {"output_norm", "model.norm"},
                      {"output", "lm_head"}}};
}

}  // namespace backplane::llama
