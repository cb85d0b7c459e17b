#pragma once

#include <algorithm>
#include <array>
#include <functional>

// What Qwen2-VL and its followers share: positions in three directions, packed images of any size, and the base model
// around a tower and a language model.

#include <backplane/model/composite.h>
#include <backplane/nn/mlp.h>
#include <backplane/nn/multimodal.h>

#include "configuration_qwen2_vl.h"

namespace backplane::qwen2_vl {

// Sections of rotary frequencies [3, batch, seq, head_dim / 2] that turn with time, height and width by turns ->
// [batch, seq, head_dim / 2].
inline Tensor sections(const Tensor& x, const Value& rope_scaling) {
  const Value* widths = rope_scaling.find("mrope_section");
  if (!widths) throw Error(ErrorCode::bad_config, "config.json: rope_scaling has no mrope_section");
  std::vector<Tensor> parts;
  int64_t from = 0, axis = 0;
  for (const int64_t width : widths->as_int_list()) {
    if (width < 0 || from + width > x.size(-1)) break;
    parts.push_back(x[axis % 3].slice(-1, from, from + width));
    from += width;
    ++axis;
  }
  if (from != x.size(-1) || axis % 3 != 0) {
    throw Error(ErrorCode::bad_config, concat("config.json: mrope_section is ", widths->to_string(),
                                              "; expected three numbers whose sum is ", x.size(-1)));
  }
  return at::cat(parts, -1);
}

// One row [t, h, w] of a grid of patches.
struct Grid {
  int64_t t, h, w;
  int64_t size() const { return t * h * w; }
};

// grid_thw [images, 3] -> its rows, each of whole blocks of merge x merge patches; `patches`: how many there are in
// all.
inline std::vector<Grid> grids_of(const Tensor& grid_thw, int64_t merge, int64_t patches) {
  if (!grid_thw.defined() || grid_thw.dim() != 2 || grid_thw.size(1) != 3)
    throw Error(ErrorCode::invalid_value,
                "images and videos need their grids [images, 3] (image_grid_thw, video_grid_thw)");
  const Tensor rows = grid_thw.to(at::kLong).contiguous();
  const int64_t* row = rows.const_data_ptr<int64_t>();
  constexpr int64_t kMost = 1 << 20;
  std::vector<Grid> grids;
  int64_t count = 0;
  for (int64_t i = 0; i < rows.size(0); ++i, row += 3) {
    const Grid grid{row[0], row[1], row[2]};
    if (grid.t <= 0 || grid.h <= 0 || grid.w <= 0 || grid.t > kMost || grid.h > kMost || grid.w > kMost ||
        grid.h % merge != 0 || grid.w % merge != 0) {
      throw Error(ErrorCode::invalid_value, concat("a grid is ", grid.t, " x ", grid.h, " x ", grid.w,
                                                   "; expected whole blocks of ", merge, " x ", merge, " patches"));
    }
    count += grid.size();
    grids.push_back(grid);
  }
  if (count != patches) {
    throw Error(ErrorCode::invalid_value, concat("the grids hold ", count, " patches; there are ", patches));
  }
  return grids;
}

// Row and column of every patch, in the order of the patches: block by block -> [patches, 2].
inline Tensor patch_positions(const std::vector<Grid>& grids, int64_t merge) {
  std::vector<Tensor> all;
  for (const auto& [t, h, w] : grids) {
    const auto blocks = [&](const Tensor& x) {
      return x.reshape({h / merge, merge, w / merge, merge}).permute({0, 2, 1, 3}).flatten();
    };
    const Tensor rows = blocks(at::arange(h).unsqueeze(1).expand({h, w}));
    const Tensor columns = blocks(at::arange(w).unsqueeze(0).expand({h, w}));
    all.push_back(at::stack({rows, columns}, -1).repeat({t, 1}));
  }
  return at::cat(all);
}

// Rotary frequencies of a patch at (row, column): half of them turn with each -> cos, sin [patches, head_dim / 2].
inline std::pair<Tensor, Tensor> patch_rotary(const Tensor& positions, int64_t head_dim) {
  const int64_t dim = head_dim / 2;
  const Tensor inv_freq = 1.0 / at::pow(10000.0, at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim));
  const Tensor angles = (positions.to(at::kFloat).unsqueeze(-1) * inv_freq).flatten(1);
  return {angles.cos(), angles.sin()};
}

// Lengths of the images of a packed row; a video's frames are images.
inline std::vector<int64_t> frame_lengths(const std::vector<Grid>& grids) {
  std::vector<int64_t> lengths;
  for (const auto& [t, h, w] : grids) lengths.insert(lengths.end(), static_cast<size_t>(t), h * w);
  return lengths;
}

// What the blocks of a vision tower share in one call.
struct VisionPass {
  Tensor cos, sin;  // [1, patches, head_dim / 2]
  std::vector<int64_t> lengths;
};

struct VisionAttentionImpl : nn::Module {
  int64_t heads;
  AttnImplementation implementation;
  nn::Linear qkv, proj;

  VisionAttentionImpl(int64_t dim, int64_t heads, AttnImplementation implementation, bool qkv_bias = true,
                      bool proj_bias = true)
      : heads(heads),
        implementation(implementation),
        qkv(register_module("qkv", nn::Linear(dim, 3 * dim, qkv_bias))),
        proj(register_module("proj", nn::Linear(dim, dim, proj_bias))) {}

  // x [patches, dim] -> [patches, dim]
  Tensor forward(const Tensor& x, const VisionPass& pass) {
    const auto parts = qkv(x).reshape({1, x.size(0), 3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
    const Tensor q = nn::apply_rotary(parts[0], pass.cos, pass.sin), k = nn::apply_rotary(parts[1], pass.cos, pass.sin);
    return proj(merge_heads(segmented_attention(q, k, parts[2], pass.lengths, {.implementation = implementation}))[0]);
  }
};
TORCH_MODULE(VisionAttention);

// Cuts frames into patches: rows of pixels [patches, channels * time * size * size] -> [patches, dim].
struct PatchEmbedImpl : nn::Module {
  int64_t channels, time, size;
  nn::Conv3d proj;

  PatchEmbedImpl(int64_t channels, int64_t time, int64_t size, int64_t dim, bool with_bias = false)
      : channels(channels),
        time(time),
        size(size),
        proj(register_module("proj",
                             nn::Conv3d(channels, dim, nn::Extent<3>{time, size, size},
                                        nn::ConvOptions<3>{.stride = {time, size, size}, .with_bias = with_bias}))) {}

  Tensor forward(const Tensor& pixels) {
    return proj(pixels.to(proj->weight.scalar_type()).reshape({-1, channels, time, size, size})).flatten(1);
  }
};
TORCH_MODULE(PatchEmbed);

// Linear, gelu, linear under the names "0" and "2".
struct MergerMlpImpl : nn::Module {
  nn::Linear first, last;

  MergerMlpImpl(int64_t in, int64_t out)
      : first(register_module("0", nn::Linear(in, in))), last(register_module("2", nn::Linear(in, out))) {}

  Tensor forward(const Tensor& x) { return last(at::gelu(first(x))); }
};
TORCH_MODULE(MergerMlp);

// Blocks of merge x merge patches become one embedding of the language model.
template <class Norm>
struct PatchMergerImpl : nn::Module {
  int64_t width;
  Norm ln_q;
  MergerMlp mlp;

  PatchMergerImpl(int64_t dim, int64_t out, int64_t merge)
      : width(dim * merge * merge),
        ln_q(register_module("ln_q", Norm(dim, 1e-6))),
        mlp(register_module("mlp", MergerMlp(width, out))) {}

  // x [patches, dim] -> [patches / merge^2, out]
  Tensor forward(const Tensor& x) { return mlp(ln_q(x).view({-1, width})); }
};
template <class Norm>
struct PatchMerger : nn::ModuleHolder<PatchMergerImpl<Norm>> {
  using nn::ModuleHolder<PatchMergerImpl<Norm>>::ModuleHolder;
};

struct Positions {
  Tensor ids;     // [3, batch, seq]: time, height, width
  Tensor deltas;  // [batch, 1]: the next position less the number of tokens
};

// The ids that matter to positions, and how frames count in time.
struct PositionRules {
  int64_t image_token_id, video_token_id, vision_start_token_id, merge;
  // Time of each of `t` frames [t]; `video` is the number of the video, or nothing for an image.
  std::function<Tensor(int64_t t, std::optional<int64_t> video)> times = [](int64_t t, std::optional<int64_t>) {
    return at::arange(t);
  };
};

// Positions of text alone: they count tokens that are no padding.
inline Positions text_positions(const Tensor& attention_mask, int64_t batch, int64_t seq) {
  if (!attention_mask.defined()) {
    return {at::arange(seq).view({1, 1, -1}).expand({3, batch, seq}), at::zeros({batch, 1}, at::kLong)};
  }
  const Tensor ids = (attention_mask.to(at::kLong).cumsum(-1) - 1).masked_fill(attention_mask == 0, 1);
  return {ids.unsqueeze(0).expand({3, -1, -1}), std::get<0>(ids.max(-1, true)) + 1 - attention_mask.size(-1)};
}

// Text counts on by one; an image or video starts there, spreads over time, height and width, and text goes on after
// its largest position. input_ids and attention_mask [batch, seq], grids [n, 3].
inline Positions grid_positions(const Tensor& input_ids, const Tensor& image_grids, const Tensor& video_grids,
                                const Tensor& attention_mask, const PositionRules& rules) {
  const int64_t batch = input_ids.size(0), seq = input_ids.size(1);
  Tensor all = at::ones({3, batch, seq}, at::kLong);
  std::vector<int64_t> deltas;
  int64_t images = 0, videos = 0;
  const auto grid_at = [&](const Tensor& grids, int64_t i, const char* what) {
    if (!grids.defined() || i >= grids.size(0)) {
      throw Error(ErrorCode::invalid_value,
                  concat("input_ids name more ", what, "s than ", what, "_grid_thw has rows"));
    }
    return Grid{grids[i][0].item<int64_t>(), grids[i][1].item<int64_t>() / rules.merge,
                grids[i][2].item<int64_t>() / rules.merge};
  };
  for (int64_t row = 0; row < batch; ++row) {
    const Tensor seen = attention_mask.defined() ? attention_mask[row] == 1 : at::ones({seq}, at::kBool);
    const Tensor tokens = input_ids[row].masked_select(seen).contiguous();
    const std::vector<int64_t> ids(tokens.const_data_ptr<int64_t>(), tokens.const_data_ptr<int64_t>() + tokens.numel());
    int64_t image_count = 0, video_count = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      if (ids[i] != rules.vision_start_token_id) continue;
      image_count += ids[i + 1] == rules.image_token_id;
      video_count += ids[i + 1] == rules.video_token_id;
    }
    const auto find = [&](int64_t id, int64_t from) {
      return static_cast<int64_t>(std::find(ids.begin() + std::min<int64_t>(from, ids.size()), ids.end(), id) -
                                  ids.begin());
    };
    std::vector<Tensor> parts;
    int64_t at_token = 0, next = 0;  // position
    const auto add = [&](const Tensor& part) {
      if (part.size(1) == 0) return;
      parts.push_back(part);
      next = part.max().item<int64_t>() + 1;
    };
    while (image_count + video_count > 0) {
      const auto none = static_cast<int64_t>(ids.size());
      const int64_t image = image_count > 0 ? find(rules.image_token_id, at_token) : none;
      const int64_t video = video_count > 0 ? find(rules.video_token_id, at_token) : none;
      const int64_t start = std::min(image, video);
      if (start == none)
        throw Error(ErrorCode::invalid_value, "fewer placeholders than images and videos in input_ids");
      const bool is_image = image < video;
      const Grid grid = is_image ? grid_at(image_grids, images, "image") : grid_at(video_grids, videos, "video");
      const Tensor times = rules.times(grid.t, is_image ? std::nullopt : std::optional(videos));
      (is_image ? images : videos) += 1;
      (is_image ? image_count : video_count) -= 1;
      const int64_t before = start - at_token;
      const int64_t first = next + before;
      add((at::arange(before) + next).unsqueeze(0).expand({3, before}));
      const std::array<int64_t, 3> shape = {grid.t, grid.h, grid.w};
      add(at::stack({times.view({-1, 1, 1}).expand(shape).flatten(),
                     at::arange(grid.h).view({1, -1, 1}).expand(shape).flatten(),
                     at::arange(grid.w).view({1, 1, -1}).expand(shape).flatten()}) +
          first);
      at_token = start + grid.size();
    }
    const int64_t rest = static_cast<int64_t>(ids.size()) - at_token;
    if (rest < 0) throw Error(ErrorCode::invalid_value, "input_ids end within an image or a video");
    add((at::arange(rest) + next).unsqueeze(0).expand({3, rest}));
    if (parts.empty()) throw Error(ErrorCode::invalid_value, "a row of input_ids has nothing but padding");
    const Tensor positions = at::cat(parts, 1);
    all.select(1, row).masked_scatter_(seen.expand({3, seq}), positions);
    deltas.push_back(positions.max().item<int64_t>() + 1 - seq);
  }
  return {all, at::tensor(deltas, at::kLong).unsqueeze(1)};
}

inline constexpr auto kArguments =
    extend(kDecoderArguments, "pixel_values", "pixel_values_videos", "image_grid_thw", "video_grid_thw", "rope_deltas");

// A vision tower over packed patches and a language model with positions in three directions.
template <class C, class Vision, class Text>
struct GridModel : PreTrainedModel {
  using Config = C;
  static constexpr std::array<std::string_view, 2> kPromptOnly = {"pixel_values", "pixel_values_videos"};

  const C& c;
  Vision visual;
  std::shared_ptr<Text> language_model;

  explicit GridModel(const C& config)
      : PreTrainedModel(config),
        c(config),
        visual(register_module("visual", Vision(c.vision_config))),
        language_model(register_module("language_model", std::make_shared<Text>(c.text_config))) {}

  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  // Positions of a prompt with images or videos; attention_mask [batch, seq] or undefined.
  virtual Positions placed(const Tensor& input_ids, const Tensor& image_grids, const Tensor& video_grids,
                           const Tensor& attention_mask, const ModelInputs& inputs) const = 0;
  // The id that stands for a video's embeddings.
  virtual int64_t video_placeholder() const { return c.video_token_id; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids");
    Tensor x = inputs.tensor("inputs_embeds");
    if (!ids.defined() && !x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (!x.defined()) {
      x = get_input_embeddings()(ids);
      if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
        const Tensor features = visual(pixels, inputs.tensor("image_grid_thw"));
        x = scatter_features(x, ids == c.image_token_id, features, "image");
      }
      if (const Tensor pixels = inputs.tensor("pixel_values_videos"); pixels.defined()) {
        x = scatter_features(x, ids == video_placeholder(), visual(pixels, inputs.tensor("video_grid_thw")), "video");
      }
    }
    const KvCachePtr cache = inputs.cache("past_key_values");
    ModelInputs call = for_language_model(inputs, *language_model, c, x);
    Tensor deltas = cache ? cache->position_offset : Tensor();
    if (!inputs.contains("position_ids")) {
      if (!cache || cache->length() == 0 || !deltas.defined()) {
        const Positions positions = prompt_positions(inputs, x);
        deltas = positions.deltas;
        call.set("position_ids", positions.ids);
      } else {
        const int64_t seq = x.size(1);
        const Tensor positions = at::arange(seq).unsqueeze(0) + cache->length() + deltas;
        call.set("position_ids", positions.unsqueeze(0).expand({3, -1, -1}));
      }
    }
    ModelOutput output = language_model->forward(call);
    if (const KvCachePtr filled = output.cache("past_key_values")) filled->position_offset = deltas;
    output.set("rope_deltas", deltas);
    return output;
  }

 private:
  Positions prompt_positions(const ModelInputs& inputs, const Tensor& x) const {
    const Tensor ids = inputs.tensor("input_ids"), images = inputs.tensor("image_grid_thw"),
                 videos = inputs.tensor("video_grid_thw");
    Tensor mask = inputs.tensor("attention_mask");
    if (mask.defined() && mask.dim() == 4) mask = (mask.select(1, 0).diagonal(0, 1, 2) == 0).to(at::kLong);
    if (!ids.defined() || (!images.defined() && !videos.defined())) return text_positions(mask, x.size(0), x.size(1));
    return placed(ids, images, videos, mask, inputs);
  }
};

// The language head; positions of generated tokens follow from the prompt's.
template <class Model>
struct GridConditionalGeneration : ConditionalGeneration<Model> {
  explicit GridConditionalGeneration(const typename Model::Config& c)
      : ConditionalGeneration<Model>(c, c.text_config) {}

  void prepare_inputs_for_generation(ModelInputs& inputs, int64_t past) const override {
    ConditionalGeneration<Model>::prepare_inputs_for_generation(inputs, past);
    inputs.set("position_ids", {});
  }
};

// position_ids of a call as [3, batch, seq].
inline Tensor three_directions(const ModelInputs& inputs, const DecoderCall& call) {
  const Tensor positions = inputs.contains("position_ids") ? inputs.tensor("position_ids") : call.positions;
  return positions.dim() == 2 ? positions.unsqueeze(0).expand({3, call.batch, call.seq}) : positions;
}

// Rotary angles of [3, batch, seq] positions -> cos, sin [3, batch, seq, head_dim / 2].
inline std::pair<Tensor, Tensor> rotary_of(const nn::RotaryEmbedding& rotary, const Tensor& positions) {
  const auto [cos, sin] = rotary.forward(positions.reshape({-1, positions.size(2)}));
  const auto shape = {positions.size(0), positions.size(1), positions.size(2), cos.size(-1)};
  return {cos.view(shape), sin.view(shape)};
}

}  // namespace backplane::qwen2_vl
