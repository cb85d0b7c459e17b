// Qwen2.5-VL: Bai et al. 2025, https://arxiv.org/abs/2502.13923
// Qwen2-VL except: most blocks of the tower attend within windows, its norms are RMSNorm and its MLPs gated; frames
// count in time by the seconds between them. Reference: transformers, models/qwen2_5_vl/modeling_qwen2_5_vl.py

#include "../qwen2_vl/text_qwen2_vl.h"
#include "configuration_qwen2_5_vl.h"

namespace backplane::qwen2_5_vl {

using qwen2_vl::Grid;
using qwen2_vl::VisionPass;

struct Qwen2_5_VLVisionBlockImpl : nn::Module {
  nn::RMSNorm norm1, norm2;
  qwen2_vl::VisionAttention attn;
  nn::GatedMlp mlp;

  explicit Qwen2_5_VLVisionBlockImpl(const Qwen2_5_VLVisionConfig& c)
      : norm1(register_module("norm1", nn::RMSNorm(c.hidden_size, 1e-6))),
        norm2(register_module("norm2", nn::RMSNorm(c.hidden_size, 1e-6))),
        attn(register_module("attn", qwen2_vl::VisionAttention(c.hidden_size, c.num_heads, c.attn_implementation))),
        mlp(register_module("mlp", nn::GatedMlp(c.hidden_size, c.intermediate_size, c.hidden_act, true))) {}

  Tensor forward(Tensor x, const VisionPass& pass) {
    x = x + attn(norm1(x), pass);
    return x + mlp(norm2(x));
  }
};
TORCH_MODULE(Qwen2_5_VLVisionBlock);

struct Qwen2_5_VisionTransformerImpl : nn::Module {
  int64_t merge, head_dim, window;  // window: blocks of patches a side
  std::vector<int64_t> full_blocks;
  qwen2_vl::PatchEmbed patch_embed;
  nn::Layers<Qwen2_5_VLVisionBlock> blocks;
  qwen2_vl::PatchMerger<nn::RMSNorm> merger;

  explicit Qwen2_5_VisionTransformerImpl(const Qwen2_5_VLVisionConfig& c)
      : merge(checked(c).spatial_merge_size),
        head_dim(c.hidden_size / c.num_heads),
        window(c.window_size / c.spatial_merge_size / c.patch_size),
        full_blocks(c.fullatt_block_indexes),
        patch_embed(register_module(
            "patch_embed", qwen2_vl::PatchEmbed(c.in_channels, c.temporal_patch_size, c.patch_size, c.hidden_size))),
        blocks(register_module(
            "blocks", nn::Layers<Qwen2_5_VLVisionBlock>(c.depth, [&](int64_t) { return Qwen2_5_VLVisionBlock(c); }))),
        merger(register_module(
            "merger", qwen2_vl::PatchMerger<nn::RMSNorm>(c.hidden_size, c.out_hidden_size, c.spatial_merge_size))) {}

  static const Qwen2_5_VLVisionConfig& checked(const Qwen2_5_VLVisionConfig& c) {
    if (c.num_heads <= 0 || c.hidden_size % (4 * c.num_heads) != 0 || c.spatial_merge_size <= 0 || c.patch_size <= 0 ||
        c.temporal_patch_size <= 0 || c.window_size / c.spatial_merge_size / c.patch_size <= 0) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: vision_config: hidden_size (", c.hidden_size,
                         ") has to be a multiple of 4 * num_heads (", c.num_heads,
                         "), spatial_merge_size, patch_size and temporal_patch_size above 0, and window_size (",
                         c.window_size, ") at least spatial_merge_size * patch_size"));
    }
    return c;
  }

  // The order of blocks of patches window by window, [blocks], and how many patches each window has.
  std::pair<Tensor, std::vector<int64_t>> windows(const std::vector<Grid>& grids) const {
    std::vector<Tensor> order;
    std::vector<int64_t> lengths;
    int64_t from = 0;
    for (const auto& grid : grids) {
      const int64_t h = grid.h / merge, w = grid.w / merge;
      const Tensor index = at::arange(from, from + grid.t * h * w).view({grid.t, h, w});
      for (int64_t t = 0; t < grid.t; ++t) {
        for (int64_t y = 0; y < h; y += window) {
          for (int64_t x = 0; x < w; x += window) {
            order.push_back(index[t].slice(0, y, y + window).slice(1, x, x + window).flatten());
            lengths.push_back(order.back().size(0) * merge * merge);
          }
        }
      }
      from += grid.t * h * w;
    }
    return {at::cat(order), lengths};
  }

  // pixels [patches, channels * time * size * size], grid_thw [images, 3] -> [patches / merge^2, out_hidden]
  Tensor forward(const Tensor& pixels, const Tensor& grid_thw) {
    Tensor x = patch_embed(pixels);
    const auto grids = qwen2_vl::grids_of(grid_thw, merge, x.size(0));
    const auto [order, window_lengths] = windows(grids);
    const auto in_windows = [&, order = order](const Tensor& rows) {
      return rows.unflatten(0, {-1, merge * merge}).index_select(0, order).flatten(0, 1);
    };
    const auto [cos, sin] = qwen2_vl::patch_rotary(in_windows(qwen2_vl::patch_positions(grids, merge)), head_dim);
    VisionPass near{cos.unsqueeze(0), sin.unsqueeze(0), window_lengths};
    VisionPass far{near.cos, near.sin, qwen2_vl::frame_lengths(grids)};
    x = in_windows(x);
    int64_t i = 0;
    for (auto& block : *blocks) {
      const bool is_full = std::find(full_blocks.begin(), full_blocks.end(), i++) != full_blocks.end();
      x = block(x, is_full ? far : near);
    }
    return merger(x).index_select(0, order.argsort());
  }
};
TORCH_MODULE(Qwen2_5_VisionTransformer);

struct Qwen2_5_VLTextModel : qwen2_vl::TextModel<Qwen2_5_VLTextConfig> {
  using TextModel::TextModel;
};

struct Qwen2_5_VLModel : qwen2_vl::GridModel<Qwen2_5_VLConfig, Qwen2_5_VisionTransformer, Qwen2_5_VLTextModel> {
  using GridModel::GridModel;
  CheckpointRules checkpoint_rules() const override { return {.renames = {{"^model", "language_model"}}}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(qwen2_vl::kArguments, "second_per_grid_ts");
    return kNames;
  }

  qwen2_vl::Positions placed(const Tensor& input_ids, const Tensor& image_grids, const Tensor& video_grids,
                             const Tensor& attention_mask, const ModelInputs& inputs) const override {
    const Tensor seconds = inputs.tensor("second_per_grid_ts");
    const int64_t per_second = c.vision_config.tokens_per_second;
    // Whole seconds, as the reference rounds them down before it multiplies.
    const auto times = [seconds, per_second](int64_t t, std::optional<int64_t> video) {
      if (!video) return at::zeros({t}, at::kLong);
      if (seconds.defined() && *video >= seconds.size(0)) {
        throw Error(ErrorCode::invalid_value,
                    concat("second_per_grid_ts has ", seconds.size(0), " rows for more videos than that"));
      }
      const int64_t step = seconds.defined() ? static_cast<int64_t>(seconds[*video].item<double>()) : 1;
      return at::arange(t) * (step * per_second);
    };
    const qwen2_vl::PositionRules rules = {.image_token_id = c.image_token_id,
                                           .video_token_id = c.video_token_id,
                                           .vision_start_token_id = c.token("vision_start_token_id", 151652),
                                           .merge = c.vision_config.spatial_merge_size,
                                           .times = times};
    return qwen2_vl::grid_positions(input_ids, image_grids, video_grids, attention_mask, rules);
  }
};

struct Qwen2_5_VLForConditionalGeneration : qwen2_vl::GridConditionalGeneration<Qwen2_5_VLModel> {
  using GridConditionalGeneration::GridConditionalGeneration;
  CheckpointRules checkpoint_rules() const override {
    return {
        .base_model_prefix = "model",
        .renames = {{"^visual", "model.visual"}, {R"(^model(?!\.(language_model|visual)))", "model.language_model"}}};
  }
};

BACKPLANE_PLUGIN(qwen2_5_vl, plugin) {
  plugin.config<Qwen2_5_VLTextConfig>();
  plugin.model<Qwen2_5_VLTextModel>(Auto::Model);
  plugin.config<Qwen2_5_VLConfig>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast");
  plugin.preprocessor(Auto::VideoProcessor, "Qwen2VLVideoProcessor");
  plugin.preprocessor(Auto::Processor, "Qwen2_5_VLProcessor");
  plugin.model<Qwen2_5_VLModel>(Auto::Model);
  plugin.model<Qwen2_5_VLForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<Qwen2_5_VLForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::qwen2_5_vl
