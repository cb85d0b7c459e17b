// The pre-norm encoder of ViT, which its kin share: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929.
#pragma once

#include "configuration_vit.h"

namespace backplane::vit {

struct ViTSelfAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value;

  template <class Config>
  explicit ViTSelfAttentionImpl(const Config& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.hidden_size, c.hidden_size, c.qkv_bias))),
        key(register_module("key", nn::Linear(c.hidden_size, c.hidden_size, c.qkv_bias))),
        value(register_module("value", nn::Linear(c.hidden_size, c.hidden_size, c.qkv_bias))) {}

  // x [batch, seq, hidden], head_mask [1, heads, 1, 1] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, const Tensor& head_mask, Trace& trace) {
    const Tensor y = backplane::attention(
        split_heads(query(x), heads), split_heads(key(x), heads), split_heads(value(x), heads),
        {.dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = trace.next_attention()});
    return merge_heads(head_mask.defined() ? y * head_mask : y);
  }
};
TORCH_MODULE(ViTSelfAttention);

// Linear and dropout, after attention and after the feed-forward part.
struct ViTOutputImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;

  template <class Config>
  ViTOutputImpl(const Config& c, int64_t in_features)
      : dense(register_module("dense", nn::Linear(in_features, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x) { return dropout(dense(x)); }
};
TORCH_MODULE(ViTOutput);

template <class SelfAttention>
struct ViTAttentionOfImpl : nn::Module {
  SelfAttention attention;
  ViTOutput output;

  template <class Config>
  explicit ViTAttentionOfImpl(const Config& c)
      : attention(register_module("attention", SelfAttention(c))),
        output(register_module("output", ViTOutput(c, c.hidden_size))) {}

  Tensor forward(const Tensor& x, const Tensor& head_mask, Trace& trace) {
    return output(attention(x, head_mask, trace));
  }
};
using ViTAttentionImpl = ViTAttentionOfImpl<ViTSelfAttention>;
TORCH_MODULE(ViTAttention);

struct ViTIntermediateImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  template <class Config>
  explicit ViTIntermediateImpl(const Config& c)
      : dense(register_module("dense", nn::Linear(c.hidden_size, c.intermediate_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(dense(x)); }
};
TORCH_MODULE(ViTIntermediate);

template <class Attention>
struct ViTLayerOfImpl : nn::Module {
  Attention attention;
  ViTIntermediate intermediate;
  ViTOutput output;
  nn::LayerNorm layernorm_before, layernorm_after;

  template <class Config>
  explicit ViTLayerOfImpl(const Config& c)
      : attention(register_module("attention", Attention(c))),
        intermediate(register_module("intermediate", ViTIntermediate(c))),
        output(register_module("output", ViTOutput(c, c.intermediate_size))),
        layernorm_before(register_module("layernorm_before", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        layernorm_after(register_module("layernorm_after", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(Tensor x, const Tensor& head_mask, Trace& trace) {
    x = x + attention(layernorm_before(x), head_mask, trace);
    return x + output(intermediate(layernorm_after(x)));
  }
};
using ViTLayerImpl = ViTLayerOfImpl<ViTAttention>;
TORCH_MODULE(ViTLayer);

template <class Layer>
struct ViTEncoderOfImpl : nn::Module {
  int64_t heads;
  nn::Layers<Layer> layer;

  template <class Config>
  explicit ViTEncoderOfImpl(const Config& c)
      : heads(c.num_attention_heads),
        layer(register_module("layer", nn::Layers<Layer>(c.num_hidden_layers, [&](int64_t) { return Layer(c); }))) {}

  // x [batch, seq, hidden], head_mask [heads] or [layers, heads] or undefined -> [batch, seq, hidden]
  Tensor forward(Tensor x, const Tensor& head_mask, Trace& trace) {
    const Tensor masks = head_mask_of_layers(head_mask, static_cast<int64_t>(layer->size()), heads, x.scalar_type());
    for (size_t i = 0; i < layer->size(); ++i) {
      trace.hidden_state(x);
      x = (*layer)[i](x, masks.defined() ? masks[static_cast<int64_t>(i)] : Tensor(), trace);
    }
    trace.hidden_state(x);
    return x;
  }
};
using ViTEncoderImpl = ViTEncoderOfImpl<ViTLayer>;
TORCH_MODULE(ViTEncoder);

// A linear map of the first token and an activation.
struct ViTPoolerImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  ViTPoolerImpl(int64_t hidden_size, int64_t output_size, const std::string& act)
      : dense(register_module("dense", nn::Linear(hidden_size, output_size))), act(activation(act)) {}

  // x [batch, seq, hidden] -> [batch, output]
  Tensor forward(const Tensor& x) { return act(dense(x.select(1, 0))); }
};
TORCH_MODULE(ViTPooler);

// Tokens of masked patches make way for the mask token: x [batch, patches, hidden], bool_masked_pos [batch, patches].
inline Tensor put_mask_tokens(const Tensor& x, const Tensor& mask_token, const Tensor& bool_masked_pos) {
  if (!bool_masked_pos.defined()) return x;
  if (!mask_token.defined()) throw Error(ErrorCode::invalid_value, "bool_masked_pos needs a model with a mask token");
  return at::where(bool_masked_pos.to(at::kBool).unsqueeze(-1), mask_token, x);
}

// Positions [1, prefix + patches, hidden] for images of another size.
inline Tensor positions_for(const Tensor& positions, int64_t prefix, const nn::PatchEmbeddings& patches,
                            const Tensor& pixel_values) {
  const Size2 grid = {pixel_values.size(2) / patches->patch[0], pixel_values.size(3) / patches->patch[1]};
  return grid == patches->grid ? positions : resize_positions(positions, prefix, grid);
}

// Patches behind a class token, with learned positions.
struct ViTEmbeddingsImpl : nn::Module {
  Tensor cls_token, mask_token, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  template <class Config>
  ViTEmbeddingsImpl(const Config& c, bool use_mask_token)
      : patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    if (use_mask_token) mask_token = register_parameter("mask_token", nn::parameter({1, 1, c.hidden_size}));
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches() + 1, c.hidden_size}));
  }

  // pixel_values [batch, channels, height, width] -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& bool_masked_pos, bool interpolate) {
    Tensor x = put_mask_tokens(patch_embeddings(pixel_values, interpolate), mask_token, bool_masked_pos);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    return dropout(x + positions_for(position_embeddings, 1, patch_embeddings, pixel_values));
  }
};
TORCH_MODULE(ViTEmbeddings);

constexpr std::array<std::string_view, 5> kImageArguments = {"pixel_values", "head_mask", "interpolate_pos_encoding",
                                                             "output_hidden_states", "output_attentions"};

}  // namespace backplane::vit
