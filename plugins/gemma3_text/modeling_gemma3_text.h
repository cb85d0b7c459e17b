#pragma once

// Gemma 3: Gemma Team 2025, https://arxiv.org/abs/2503.19786
// Gemma 3's language model is Gemma 2 except: heads of q and k are normalised instead of scores capped, five of six
// layers have a sliding window, and those have rotary positions of their own. Reference: transformers,
// models/gemma3/modeling_gemma3.py

#include "../gemma/modeling_gemma.h"
#include "configuration_gemma3_text.h"

namespace backplane::gemma3_text {

using gemma::GemmaRMSNorm;

struct Gemma3AttentionImpl : llama::LlamaAttentionImpl {
  double softcap;
  GemmaRMSNorm q_norm, k_norm;

  Gemma3AttentionImpl(const Gemma3TextConfig& c, size_t layer)
      : LlamaAttentionImpl(shape_of(c, layer), layer),
        softcap(c.attn_logit_softcapping.value_or(0)),
        q_norm(register_module("q_norm", GemmaRMSNorm(shape.head_dim, c.rms_norm_eps))),
        k_norm(register_module("k_norm", GemmaRMSNorm(shape.head_dim, c.rms_norm_eps))) {}

  static llama::AttentionShape shape_of(const Gemma3TextConfig& c, size_t layer) {
    llama::AttentionShape shape = llama::attention_shape(c);
    shape.scale = 1 / std::sqrt(c.query_pre_attn_scalar);
    shape.window = c.window(layer);
    return shape;
  }

  // x [batch, seq, hidden] -> its shape; cos and sin as the layer's kind has them
  Tensor forward(const Tensor& x, const Tensor& cos, const Tensor& sin, DecoderCall& call) {
    const Tensor q = q_norm(q_proj(x).unflatten(-1, {shape.heads, shape.head_dim})).transpose(1, 2);
    const Tensor k = k_norm(k_proj(x).unflatten(-1, {shape.kv_heads, shape.head_dim})).transpose(1, 2);
    return o_proj(merge_heads(call.attend(
        layer, nn::apply_rotary(q, cos, sin), nn::apply_rotary(k, cos, sin), split_heads(v_proj(x), shape.kv_heads),
        {.scale = shape.scale, .softcap = softcap, .dropout = is_training() ? shape.dropout : 0}, shape.window)));
  }
};
TORCH_MODULE(Gemma3Attention);

struct Gemma3DecoderLayerImpl : nn::Module {
  bool is_sliding;
  Gemma3Attention self_attn;
  nn::GatedMlp mlp;
  GemmaRMSNorm input_layernorm, post_attention_layernorm, pre_feedforward_layernorm, post_feedforward_layernorm;

  Gemma3DecoderLayerImpl(const Gemma3TextConfig& c, size_t layer)
      : is_sliding(c.layer_types->at(layer) == kSlidingAttention),
        self_attn(register_module("self_attn", Gemma3Attention(c, layer))),
        mlp(register_module("mlp", nn::GatedMlp(c.hidden_size, c.intermediate_size, c.hidden_activation))),
        input_layernorm(register_module("input_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        pre_feedforward_layernorm(
            register_module("pre_feedforward_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_feedforward_layernorm(
            register_module("post_feedforward_layernorm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, const Tensor& cos, const Tensor& sin, DecoderCall& call) {
    x = x + post_attention_layernorm(self_attn(input_layernorm(x), cos, sin, call));
    return x + post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)));
  }
};
TORCH_MODULE(Gemma3DecoderLayer);

struct Gemma3TextPreTrainedModel : PreTrainedModel {
  using Config = Gemma3TextConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct Gemma3TextModel : Gemma3TextPreTrainedModel {
  const Gemma3TextConfig& c;
  nn::RotaryEmbedding rotary, rotary_local;
  nn::Embedding embed_tokens;
  nn::Layers<Gemma3DecoderLayer> layers;
  GemmaRMSNorm norm;

  explicit Gemma3TextModel(const Gemma3TextConfig& config)
      : Gemma3TextPreTrainedModel(config),
        c(config),
        rotary(rotary_options(c, c.head_dim)),
        rotary_local(
            {.dim = c.head_dim, .theta = c.rope_local_base_freq, .max_position_embeddings = c.max_position_embeddings}),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<Gemma3DecoderLayer>(c.num_hidden_layers,
                                           [&](int64_t i) { return Gemma3DecoderLayer(c, static_cast<size_t>(i)); }))),
        norm(register_module("norm", GemmaRMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    DecoderCall call(inputs, c, c.use_cache, embed_tokens);
    std::tie(call.cos, call.sin) = rotary.forward(call.positions);
    const auto [local_cos, local_sin] = rotary_local.forward(call.positions);
    // Embeddings given are scaled already.
    Tensor x = inputs.contains("inputs_embeds") ? call.x : gemma::scale_embeddings(call.x);
    for (auto& layer : *layers) {
      call.see(x);
      x = layer->is_sliding ? layer(x, local_cos, local_sin, call) : layer(x, call.cos, call.sin, call);
    }
    return call.finish(norm(x));
  }
};

}  // namespace backplane::gemma3_text
