// Qwen2-VL: Wang et al. 2024, https://arxiv.org/abs/2409.12191
// A vision tower over images and videos of any size, two-dimensional rotary positions, blocks of 2 x 2 patches merged
// to one token; the language model's rotary positions count time, height and width.
// Reference: transformers, models/qwen2_vl/modeling_qwen2_vl.py

#include "text_qwen2_vl.h"

namespace backplane::qwen2_vl {

struct VisionMlpImpl : nn::Module {
  nn::Linear fc1, fc2;
  Activation act;

  explicit VisionMlpImpl(const Qwen2VLVisionConfig& c)
      : fc1(register_module("fc1", nn::Linear(c.embed_dim, hidden(c)))),
        fc2(register_module("fc2", nn::Linear(hidden(c), c.embed_dim))),
        act(activation(c.hidden_act)) {}

  static int64_t hidden(const Qwen2VLVisionConfig& c) {
    return static_cast<int64_t>(static_cast<double>(c.embed_dim) * c.mlp_ratio.as_double());
  }

  Tensor forward(const Tensor& x) { return fc2(act(fc1(x))); }
};
TORCH_MODULE(VisionMlp);

struct Qwen2VLVisionBlockImpl : nn::Module {
  nn::LayerNorm norm1, norm2;
  VisionAttention attn;
  VisionMlp mlp;

  explicit Qwen2VLVisionBlockImpl(const Qwen2VLVisionConfig& c)
      : norm1(register_module("norm1", nn::LayerNorm(c.embed_dim, 1e-6))),
        norm2(register_module("norm2", nn::LayerNorm(c.embed_dim, 1e-6))),
        attn(register_module("attn", VisionAttention(c.embed_dim, c.num_heads, c.attn_implementation))),
        mlp(register_module("mlp", VisionMlp(c))) {}

  Tensor forward(Tensor x, const VisionPass& pass) {
    x = x + attn(norm1(x), pass);
    return x + mlp(norm2(x));
  }
};
TORCH_MODULE(Qwen2VLVisionBlock);

struct Qwen2VisionTransformerImpl : nn::Module {
  int64_t merge, head_dim;
  PatchEmbed patch_embed;
  nn::Layers<Qwen2VLVisionBlock> blocks;
  PatchMerger<nn::LayerNorm> merger;

  explicit Qwen2VisionTransformerImpl(const Qwen2VLVisionConfig& c)
      : merge(checked(c).spatial_merge_size),
        head_dim(c.embed_dim / c.num_heads),
        patch_embed(register_module("patch_embed",
                                    PatchEmbed(c.in_channels, c.temporal_patch_size, c.patch_size, c.embed_dim))),
        blocks(register_module(
            "blocks", nn::Layers<Qwen2VLVisionBlock>(c.depth, [&](int64_t) { return Qwen2VLVisionBlock(c); }))),
        merger(
            register_module("merger", PatchMerger<nn::LayerNorm>(c.embed_dim, c.hidden_size, c.spatial_merge_size))) {}

  static const Qwen2VLVisionConfig& checked(const Qwen2VLVisionConfig& c) {
    if (c.num_heads <= 0 || c.embed_dim % (4 * c.num_heads) != 0 || c.spatial_merge_size <= 0 || c.patch_size <= 0 ||
        c.temporal_patch_size <= 0) {
      throw Error(
          ErrorCode::bad_config,
          concat("config.json: vision_config: embed_dim (", c.embed_dim, ") has to be a multiple of 4 * num_heads (",
                 c.num_heads, "), and spatial_merge_size, patch_size and temporal_patch_size above 0"));
    }
    return c;
  }

  // pixels [patches, channels * time * size * size], grid_thw [images, 3] -> [patches / merge^2, hidden]
  Tensor forward(const Tensor& pixels, const Tensor& grid_thw) {
    Tensor x = patch_embed(pixels);
    const auto grids = grids_of(grid_thw, merge, x.size(0));
    auto [cos, sin] = patch_rotary(patch_positions(grids, merge), head_dim);
    const VisionPass pass{cos.unsqueeze(0), sin.unsqueeze(0), frame_lengths(grids)};
    for (auto& block : *blocks) x = block(x, pass);
    return merger(x);
  }
};
TORCH_MODULE(Qwen2VisionTransformer);

struct Qwen2VLTextModel : TextModel<Qwen2VLTextConfig> {
  using TextModel::TextModel;
};

struct Qwen2VLModel : GridModel<Qwen2VLConfig, Qwen2VisionTransformer, Qwen2VLTextModel> {
  using GridModel::GridModel;
  CheckpointRules checkpoint_rules() const override { return {.renames = {{"^model", "language_model"}}}; }

  Positions placed(const Tensor& input_ids, const Tensor& image_grids, const Tensor& video_grids,
                   const Tensor& attention_mask, const ModelInputs&) const override {
    const PositionRules rules = {.image_token_id = c.image_token_id,
                                 .video_token_id = c.video_token_id,
                                 .vision_start_token_id = c.token("vision_start_token_id", 151652),
                                 .merge = c.vision_config.spatial_merge_size};
    return grid_positions(input_ids, image_grids, video_grids, attention_mask, rules);
  }
};

struct Qwen2VLForConditionalGeneration : GridConditionalGeneration<Qwen2VLModel> {
  using GridConditionalGeneration::GridConditionalGeneration;
  CheckpointRules checkpoint_rules() const override {
    return {
        .base_model_prefix = "model",
        .renames = {{"^visual", "model.visual"}, {R"(^model(?!\.(language_model|visual)))", "model.language_model"}}};
  }
};

BACKPLANE_PLUGIN(qwen2_vl, plugin) {
  plugin.config<Qwen2VLTextConfig>();
  plugin.model<Qwen2VLTextModel>(Auto::Model);
  plugin.config<Qwen2VLConfig>();
  plugin.tokenizer("Qwen2Tokenizer", "Qwen2TokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast");
  plugin.preprocessor(Auto::VideoProcessor, "Qwen2VLVideoProcessor");
  plugin.preprocessor(Auto::Processor, "Qwen2VLProcessor");
  plugin.model<Qwen2VLModel>(Auto::Model);
  plugin.model<Qwen2VLForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<Qwen2VLForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::qwen2_vl
