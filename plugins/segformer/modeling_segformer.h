// The Mix Transformer encoder of SegFormer, which GLPN shares: Xie et al. 2021, https://arxiv.org/abs/2105.15203
#pragma once

#include "configuration_segformer.h"

namespace backplane::segformer {

struct SegformerOverlapPatchEmbeddingsImpl : nn::Module {
  nn::Conv2d proj;
  nn::LayerNorm layer_norm;

  SegformerOverlapPatchEmbeddingsImpl(int64_t patch, int64_t stride, int64_t channels, int64_t hidden)
      : proj(register_module("proj",
                             nn::Conv2d(channels, hidden, patch, nn::Square{.stride = stride, .padding = patch / 2}))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(hidden))) {}

  // The tokens [batch, patches, hidden], and how many rows and columns they are.
  std::pair<Tensor, Size2> forward(const Tensor& x) {
    const Tensor map = proj(x);
    return {layer_norm(map_to_tokens(map)), {map.size(2), map.size(3)}};
  }
};
TORCH_MODULE(SegformerOverlapPatchEmbeddings);

// Keys and values come from a map that a strided convolution made smaller.
struct SegformerEfficientSelfAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value;
  nn::Conv2d sr{nullptr};
  nn::LayerNorm layer_norm{nullptr};

  SegformerEfficientSelfAttentionImpl(const SegformerEncoderConfig& c, size_t stage)
      : heads(c.num_attention_heads[stage]),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage]))),
        key(register_module("key", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage]))),
        value(register_module("value", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage]))) {
    if (const int64_t ratio = c.sr_ratios[stage]; ratio > 1) {
      const int64_t hidden = c.hidden_sizes[stage];
      sr = register_module("sr", nn::Conv2d(hidden, hidden, ratio, nn::Square{.stride = ratio}));
      layer_norm = register_module("layer_norm", nn::LayerNorm(hidden));
    }
  }

  Tensor forward(const Tensor& x, Size2 size, Trace& trace) {
    const Tensor seen = sr ? layer_norm(map_to_tokens(sr(tokens_to_map(x, size)))) : x;
    return merge_heads(attention(
        split_heads(query(x), heads), split_heads(key(seen), heads), split_heads(value(seen), heads),
        {.dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = trace.next_attention()}));
  }
};
TORCH_MODULE(SegformerEfficientSelfAttention);

struct SegformerSelfOutputImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;

  SegformerSelfOutputImpl(int64_t hidden, double drop)
      : dense(register_module("dense", nn::Linear(hidden, hidden))),
        dropout(register_module("dropout", nn::Dropout(drop))) {}

  Tensor forward(const Tensor& x) { return dropout(dense(x)); }
};
TORCH_MODULE(SegformerSelfOutput);

struct SegformerAttentionImpl : nn::Module {
  SegformerEfficientSelfAttention self;
  SegformerSelfOutput output;

  SegformerAttentionImpl(const SegformerEncoderConfig& c, size_t stage)
      : self(register_module("self", SegformerEfficientSelfAttention(c, stage))),
        output(register_module("output", SegformerSelfOutput(c.hidden_sizes[stage], c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, Size2 size, Trace& trace) { return output(self(x, size, trace)); }
};
TORCH_MODULE(SegformerAttention);

// Depthwise convolution of tokens.
struct SegformerDWConvImpl : nn::Module {
  nn::Conv2d dwconv;

  explicit SegformerDWConvImpl(int64_t dim)
      : dwconv(register_module("dwconv", nn::Conv2d(dim, dim, 3, nn::Square{.padding = 1, .groups = dim}))) {}

  Tensor forward(const Tensor& x, Size2 size) { return map_to_tokens(dwconv(tokens_to_map(x, size))); }
};
TORCH_MODULE(SegformerDWConv);

// The convolution is what tells the layers where a token stands.
struct SegformerMixFFNImpl : nn::Module {
  nn::Linear dense1, dense2;
  SegformerDWConv dwconv;
  Activation act;
  nn::Dropout dropout;

  SegformerMixFFNImpl(const SegformerEncoderConfig& c, int64_t hidden, int64_t intermediate)
      : dense1(register_module("dense1", nn::Linear(hidden, intermediate))),
        dense2(register_module("dense2", nn::Linear(intermediate, hidden))),
        dwconv(register_module("dwconv", SegformerDWConv(intermediate))),
        act(activation(c.hidden_act)),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, Size2 size) { return dropout(dense2(dropout(act(dwconv(dense1(x), size))))); }
};
TORCH_MODULE(SegformerMixFFN);

struct SegformerLayerImpl : nn::Module {
  nn::LayerNorm layer_norm_1, layer_norm_2;
  SegformerAttention attention;
  nn::DropPath drop_path;
  SegformerMixFFN mlp;

  SegformerLayerImpl(const SegformerEncoderConfig& c, size_t stage, double drop)
      : layer_norm_1(register_module("layer_norm_1", nn::LayerNorm(c.hidden_sizes[stage]))),
        layer_norm_2(register_module("layer_norm_2", nn::LayerNorm(c.hidden_sizes[stage]))),
        attention(register_module("attention", SegformerAttention(c, stage))),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        mlp(register_module("mlp", SegformerMixFFN(c, c.hidden_sizes[stage],
                                                   static_cast<int64_t>(static_cast<double>(c.hidden_sizes[stage]) *
                                                                        c.mlp_ratios[stage])))) {}

  Tensor forward(Tensor x, Size2 size, Trace& trace) {
    x = x + drop_path(attention(layer_norm_1(x), size, trace));
    return x + drop_path(mlp(layer_norm_2(x), size));
  }
};
TORCH_MODULE(SegformerLayer);

struct SegformerEncoderImpl : nn::Module {
  int64_t channels;
  nn::Layers<SegformerOverlapPatchEmbeddings> patch_embeddings{nullptr};
  nn::Layers<nn::Layers<SegformerLayer>> block{nullptr};
  nn::Layers<nn::LayerNorm> layer_norm{nullptr};

  explicit SegformerEncoderImpl(const SegformerEncoderConfig& c) : channels(c.num_channels) {
    const auto at = [](int64_t i) { return static_cast<size_t>(i); };
    patch_embeddings = register_module(
        "patch_embeddings", nn::Layers<SegformerOverlapPatchEmbeddings>(c.num_encoder_blocks, [&](int64_t i) {
          return SegformerOverlapPatchEmbeddings(c.patch_sizes[at(i)], c.strides[at(i)],
                                                 i ? c.hidden_sizes[at(i) - 1] : channels, c.hidden_sizes[at(i)]);
        }));
    int64_t count = 0;
    for (int64_t depth : c.depths) count += depth;
    const auto rates = linear_rates(c.drop_path_rate, count);
    size_t layer = 0;
    block = register_module("block", nn::Layers<nn::Layers<SegformerLayer>>(c.num_encoder_blocks, [&](int64_t i) {
                              return nn::Layers<SegformerLayer>(
                                  c.depths[at(i)], [&](int64_t) { return SegformerLayer(c, at(i), rates[layer++]); });
                            }));
    layer_norm = register_module("layer_norm", nn::Layers<nn::LayerNorm>(c.num_encoder_blocks, [&](int64_t i) {
                                   return nn::LayerNorm(c.hidden_sizes[at(i)]);
                                 }));
  }

  // pixel_values [batch, channels, height, width] -> the last stage's map; its tokens where it is not to be reshaped.
  Tensor forward(const Tensor& pixel_values, bool reshape_last_stage, std::vector<Tensor>* states, Trace& trace) {
    check_images(pixel_values, channels);
    Tensor map = pixel_values;
    for (size_t i = 0; i < patch_embeddings->size(); ++i) {
      auto [x, size] = (*patch_embeddings)[i]->forward(map);
      for (auto& layer : *(*block)[i]) x = layer(x, size, trace);
      x = (*layer_norm)[i](x);
      map = i + 1 < patch_embeddings->size() || reshape_last_stage ? tokens_to_map(x, size) : x;
      if (states) states->push_back(map);
    }
    return map;
  }
};
TORCH_MODULE(SegformerEncoder);

}  // namespace backplane::segformer
