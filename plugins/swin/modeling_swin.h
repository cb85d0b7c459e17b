// The embeddings and stages of Swin, which its kin share: Liu et al. 2021, https://arxiv.org/abs/2103.14030
#pragma once

#include "configuration_swin.h"

namespace backplane::swin {

// Patches of images of any size, padded to whole patches.
struct SwinPatchEmbeddingsImpl : nn::Module {
  int64_t channels;
  Size2 patch, grid;
  nn::Conv2d projection;

  explicit SwinPatchEmbeddingsImpl(const SwinEncoderConfig& c)
      : channels(c.num_channels),
        patch(size_of(c.patch_size, "patch_size")),
        grid(patch_grid(c.image_size, c.patch_size)),
        projection(register_module("projection",
                                   nn::Conv2d(channels, c.embed_dim, patch, nn::ConvOptions<2>{.stride = patch}))) {}

  // [batch, channels, height, width] -> [batch, embed, rows, columns]
  Tensor forward(const Tensor& pixel_values) {
    check_images(pixel_values, channels);
    const int64_t right = (patch[1] - pixel_values.size(3) % patch[1]) % patch[1],
                  bottom = (patch[0] - pixel_values.size(2) % patch[0]) % patch[0];
    return projection(right || bottom ? at::constant_pad_nd(pixel_values, {0, right, 0, bottom}) : pixel_values);
  }
};
TORCH_MODULE(SwinPatchEmbeddings);

struct SwinEmbeddingsImpl : nn::Module {
  Tensor mask_token, position_embeddings;
  SwinPatchEmbeddings patch_embeddings;
  nn::LayerNorm norm;
  nn::Dropout dropout;

  SwinEmbeddingsImpl(const SwinEncoderConfig& c, bool use_mask_token)
      : patch_embeddings(register_module("patch_embeddings", SwinPatchEmbeddings(c))),
        norm(register_module("norm", nn::LayerNorm(c.embed_dim))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    if (use_mask_token) mask_token = register_parameter("mask_token", nn::parameter({1, 1, c.embed_dim}));
    if (c.use_absolute_embeddings) {
      const Size2 grid = patch_embeddings->grid;
      position_embeddings =
          register_parameter("position_embeddings", nn::parameter({1, grid[0] * grid[1] + 1, c.embed_dim}));
    }
  }

  // The tokens [batch, patches, embed], and how many rows and columns they are.
  std::pair<Tensor, Size2> forward(const Tensor& pixel_values, const Tensor& bool_masked_pos, bool interpolate) {
    const Tensor map = patch_embeddings(pixel_values);
    const Size2 grid = {map.size(2), map.size(3)};
    Tensor x = norm(map_to_tokens(map));
    if (bool_masked_pos.defined()) {
      if (!mask_token.defined())
        throw Error(ErrorCode::invalid_value, "bool_masked_pos needs a model with a mask token");
      x = at::where(bool_masked_pos.to(at::kBool).unsqueeze(-1), mask_token, x);
    }
    // There is one position more than patches, as if for a class token: the first goes with all where sizes agree.
    if (position_embeddings.defined()) {
      x = x + (interpolate ? resize_positions(position_embeddings, 1, grid) : position_embeddings);
    }
    return {dropout(x), grid};
  }
};
TORCH_MODULE(SwinEmbeddings);

struct SwinSelfAttentionImpl : nn::Module {
  int64_t heads;
  Size2 window;
  double dropout;
  AttnImplementation implementation;
  Tensor relative_position_bias_table, index;
  nn::Linear query, key, value;

  SwinSelfAttentionImpl(const SwinEncoderConfig& c, int64_t dim, int64_t heads, Size2 window)
      : heads(heads),
        window(window),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        index(relative_position_index(window)),
        query(register_module("query", nn::Linear(dim, dim, c.qkv_bias))),
        key(register_module("key", nn::Linear(dim, dim, c.qkv_bias))),
        value(register_module("value", nn::Linear(dim, dim, c.qkv_bias))) {
    relative_position_bias_table = register_parameter(
        "relative_position_bias_table", nn::parameter({(2 * window[0] - 1) * (2 * window[1] - 1), heads}));
    // Checkpoints have it, whose numbers need not be believed.
    register_buffer("relative_position_index", index.clone());
  }

  // x [batch * windows, places, dim], mask [windows, places, places] or undefined -> x's shape
  Tensor forward(const Tensor& x, const Tensor& mask, Trace& trace) {
    const int64_t places = x.size(1);
    Tensor bias = relative_position_bias_table.index_select(0, index.view({-1}))
                      .view({places, places, heads})
                      .permute({2, 0, 1})
                      .unsqueeze(0);
    if (mask.defined()) {
      bias = bias + mask.unsqueeze(1);  // [windows, heads, places, places]
      bias = bias.repeat({x.size(0) / mask.size(0), 1, 1, 1});
    }
    const Tensor y = attention(split_heads(query(x), heads), split_heads(key(x), heads), split_heads(value(x), heads),
                               {.mask = bias,
                                .dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = trace.next_attention()});
    return merge_heads(y);
  }
};
TORCH_MODULE(SwinSelfAttention);

struct SwinOutputImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;

  SwinOutputImpl(int64_t in_features, int64_t dim, double drop)
      : dense(register_module("dense", nn::Linear(in_features, dim))),
        dropout(register_module("dropout", nn::Dropout(drop))) {}

  Tensor forward(const Tensor& x) { return dropout(dense(x)); }
};
TORCH_MODULE(SwinOutput);

struct SwinAttentionImpl : nn::Module {
  SwinSelfAttention self;
  SwinOutput output;

  SwinAttentionImpl(const SwinEncoderConfig& c, int64_t dim, int64_t heads)
      : self(register_module("self", SwinSelfAttention(c, dim, heads, Size2{c.window_size, c.window_size}))),
        output(register_module("output", SwinOutput(dim, dim, c.attention_probs_dropout_prob))) {}

  Tensor forward(const Tensor& x, const Tensor& mask, Trace& trace) { return output(self(x, mask, trace)); }
};
TORCH_MODULE(SwinAttention);

struct SwinIntermediateImpl : nn::Module {
  nn::Linear dense;
  Activation act;

  SwinIntermediateImpl(int64_t dim, int64_t out_features, const std::string& act)
      : dense(register_module("dense", nn::Linear(dim, out_features))), act(activation(act)) {}

  Tensor forward(const Tensor& x) { return act(dense(x)); }
};
TORCH_MODULE(SwinIntermediate);

struct SwinLayerImpl : nn::Module {
  int64_t window, shift;
  nn::LayerNorm layernorm_before, layernorm_after;
  SwinAttention attention;
  nn::DropPath drop_path;
  SwinIntermediate intermediate;
  SwinOutput output;

  SwinLayerImpl(const SwinEncoderConfig& c, int64_t dim, int64_t heads, double drop, bool shifted)
      : window(c.window_size),
        shift(shifted ? window / 2 : 0),
        layernorm_before(register_module("layernorm_before", nn::LayerNorm(dim, c.layer_norm_eps))),
        layernorm_after(register_module("layernorm_after", nn::LayerNorm(dim, c.layer_norm_eps))),
        attention(register_module("attention", SwinAttention(c, dim, heads))),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        intermediate(register_module(
            "intermediate",
            SwinIntermediate(dim, static_cast<int64_t>(c.mlp_ratio * static_cast<double>(dim)), c.hidden_act))),
        output(register_module("output", SwinOutput(static_cast<int64_t>(c.mlp_ratio * static_cast<double>(dim)), dim,
                                                    c.hidden_dropout_prob))) {}

  // x [batch, height * width, dim] -> the same. Maps that are one window are not shifted, unless `always_shift`.
  Tensor forward(const Tensor& x, Size2 size, bool always_shift, Trace& trace) {
    const int64_t smallest = std::min(size[0], size[1]);
    if (smallest < window && !always_shift) {
      throw Error(ErrorCode::invalid_value, concat("a feature map of ", size[0], " x ", size[1],
                                                   " is smaller than the window (", window, "); give larger images"));
    }
    const int64_t s = smallest <= window && !always_shift ? 0 : shift;
    const Size2 padded = {(size[0] + window - 1) / window * window, (size[1] + window - 1) / window * window};
    Tensor h = layernorm_before(x).view({x.size(0), size[0], size[1], x.size(2)});
    if (padded != size) h = at::constant_pad_nd(h, {0, 0, 0, padded[1] - size[1], 0, padded[0] - size[0]});
    Tensor mask;
    if (s > 0) {
      h = at::roll(h, {-s, -s}, {1, 2});
      mask = shifted_window_mask(padded, {window, window}, {s, s}, x.scalar_type());
    }
    h = attention(window_partition(h, {window, window}), mask, trace);
    h = window_reverse(h, {window, window}, padded);
    if (s > 0) h = at::roll(h, {s, s}, {1, 2});
    h = h.slice(1, 0, size[0]).slice(2, 0, size[1]).reshape(x.sizes());
    h = x + drop_path(h);
    return h + output(intermediate(layernorm_after(h)));
  }
};
TORCH_MODULE(SwinLayer);

// Four neighbours side by side: x [batch, height * width, dim] -> [batch, height / 2 * width / 2, 4 * dim]
inline Tensor four_neighbours(const Tensor& x, Size2 size) {
  Tensor map = x.view({x.size(0), size[0], size[1], x.size(2)});
  if (size[0] % 2 || size[1] % 2) map = at::constant_pad_nd(map, {0, 0, 0, size[1] % 2, 0, size[0] % 2});
  const auto every_second = [&](int64_t row, int64_t column) {
    return map.slice(1, row, std::nullopt, 2).slice(2, column, std::nullopt, 2);
  };
  return at::cat({every_second(0, 0), every_second(1, 0), every_second(0, 1), every_second(1, 1)}, -1).flatten(1, 2);
}

// Four neighbours become one token of twice the width.
struct SwinPatchMergingImpl : nn::Module {
  nn::Linear reduction;
  nn::LayerNorm norm;

  explicit SwinPatchMergingImpl(int64_t dim)
      : reduction(register_module("reduction", nn::Linear(4 * dim, 2 * dim, false))),
        norm(register_module("norm", nn::LayerNorm(4 * dim))) {}

  Tensor forward(const Tensor& x, Size2 size) { return reduction(norm(four_neighbours(x, size))); }
};
TORCH_MODULE(SwinPatchMerging);

// Layers and, but for the last stage, what makes their map smaller.
template <class Layer, class Merging>
struct SwinStageOfImpl : nn::Module {
  nn::Layers<Layer> blocks;
  Merging downsample{nullptr};

  template <class Make>
  SwinStageOfImpl(int64_t depth, int64_t dim, bool is_last, Make make)
      : blocks(register_module("blocks", nn::Layers<Layer>(depth, make))) {
    if (!is_last) downsample = register_module("downsample", Merging(dim));
  }
};

struct SwinRun {
  bool always_shift = false;         // maps that are one window too
  bool before_downsampling = false;  // states are those before a stage's downsampling
};

// Layer: x [batch, rows * columns, dim], size, always_shift, trace -> x's shape.
template <class Layer, class Merging>
struct SwinEncoderOfImpl : nn::Module {
  using Stage = nn::ModuleHolder<SwinStageOfImpl<Layer, Merging>>;
  nn::Layers<Stage> layers{nullptr};

  // make(stage, drop, shifted) makes a layer.
  template <class Config, class Make>
  SwinEncoderOfImpl(const Config& c, Make make) {
    int64_t count = 0, place = 0;
    for (int64_t depth : c.depths) count += depth;
    const auto rates = linear_rates(c.drop_path_rate, count);
    const auto stages = static_cast<int64_t>(c.depths.size());
    layers = register_module("layers", nn::Layers<Stage>(stages, [&](int64_t i) {
                               const auto stage = static_cast<size_t>(i);
                               return Stage(c.depths[stage], c.channels(stage), i + 1 == stages, [&](int64_t layer) {
                                 return make(stage, rates[static_cast<size_t>(place++)], layer % 2 == 1);
                               });
                             }));
  }

  // x [batch, rows * columns, embed] -> the last stage's tokens. `maps` gets the states [batch, dim, rows, columns] of
  // the embeddings and of each stage.
  Tensor forward(Tensor x, Size2 size, SwinRun run, std::vector<Tensor>* maps, Trace& trace) {
    const auto keep = [&] {
      trace.hidden_state(x);
      if (maps) maps->push_back(tokens_to_map(x, size));
    };
    keep();
    for (auto& stage : *layers) {
      for (auto& block : *stage->blocks) x = block(x, size, run.always_shift, trace);
      if (run.before_downsampling) keep();
      if (stage->downsample) {
        x = stage->downsample(x, size);
        size = {(size[0] + 1) / 2, (size[1] + 1) / 2};
      }
      if (!run.before_downsampling) keep();
    }
    return x;
  }
};

struct SwinEncoderImpl : SwinEncoderOfImpl<SwinLayer, SwinPatchMerging> {
  explicit SwinEncoderImpl(const SwinEncoderConfig& c)
      : SwinEncoderOfImpl(c, [&](size_t stage, double drop, bool shifted) {
          return SwinLayer(c, c.channels(stage), c.num_heads[stage], drop, shifted);
        }) {}
};
TORCH_MODULE(SwinEncoder);

constexpr std::array<std::string_view, 4> kImageArguments = {"pixel_values", "interpolate_pos_encoding",
                                                             "output_hidden_states", "output_attentions"};

// What the base models of Swin and its kin compute; an empty `layernorm`: none.
template <class Encoder>
ModelOutput swin_model(const ModelInputs& inputs, const PretrainedConfig& c, SwinEmbeddings& embeddings,
                       Encoder& encoder, nn::LayerNorm& layernorm, bool pools) {
  Trace trace(inputs, c);
  std::vector<Tensor> maps;
  const auto [tokens, size] = embeddings->forward(inputs.tensor("pixel_values"), inputs.tensor("bool_masked_pos"),
                                                  inputs.flag("interpolate_pos_encoding", false));
  Tensor x = encoder->forward(tokens, size, {}, trace.keeps_hidden_states ? &maps : nullptr, trace);
  if (layernorm) x = layernorm(x);
  ModelOutput output;
  output.set("last_hidden_state", x);
  if (pools) output.set("pooler_output", x.mean(1));
  trace.write(output);
  output.set("reshaped_hidden_states", maps);
  return output;
}

}  // namespace backplane::swin
