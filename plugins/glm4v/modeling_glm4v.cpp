// GLM-4.1V: GLM-V Team 2025, https://arxiv.org/abs/2507.01006
// Qwen2-VL except: the tower has learned positions, interpolated for each image, RMSNorm and gated MLPs, and merges
// patches by a convolution; the language model is GLM-4 (four norms a layer, part of a head rotated, in pairs); frames
// of videos are images between marks. Reference: transformers, models/glm4v/modeling_glm4v.py

#include "../qwen2_vl/modeling_qwen2_vl.h"
#include "configuration_glm4v.h"

namespace backplane::glm4v {

using qwen2_vl::Grid;
using qwen2_vl::VisionPass;

// Learned positions of a square grid, read between its points by bicubic interpolation.
struct Glm4vVisionEmbeddingsImpl : nn::Module {
  int64_t side;
  nn::Embedding position_embedding;

  explicit Glm4vVisionEmbeddingsImpl(const Glm4vVisionConfig& c)
      : side(c.image_size / c.patch_size),
        position_embedding(register_module("position_embedding", nn::Embedding(side * side, c.hidden_size))) {}

  // x [patches, hidden], positions [patches, 2] -> [patches, hidden]
  Tensor forward(const Tensor& x, const std::vector<Grid>& grids, const Tensor& positions) {
    std::vector<Tensor> sizes;
    for (const auto& [t, h, w] : grids) sizes.push_back(at::tensor({h, w}, at::kFloat).expand({t * h * w, 2}));
    const Tensor places = (positions.to(at::kFloat) + 0.5) / at::cat(sizes) * 2 - 1;  // [patches, 2] from -1 to 1
    const Tensor table =
        position_embedding->weight.view({side, side, -1}).permute({2, 0, 1}).unsqueeze(0).to(at::kFloat);
    constexpr int64_t kBicubic = 2, kBorder = 1;
    const Tensor read = at::grid_sampler(table, places.flip(-1).view({1, -1, 1, 2}), kBicubic, kBorder, false);
    return x + read[0].squeeze(-1).t().to(x.scalar_type());
  }
};
TORCH_MODULE(Glm4vVisionEmbeddings);

struct Glm4vVisionBlockImpl : nn::Module {
  nn::RMSNorm norm1, norm2;
  qwen2_vl::VisionAttention attn;
  nn::GatedMlp mlp;

  explicit Glm4vVisionBlockImpl(const Glm4vVisionConfig& c)
      : norm1(register_module("norm1", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        norm2(register_module("norm2", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        attn(register_module("attn", qwen2_vl::VisionAttention(c.hidden_size, c.num_heads, c.attn_implementation,
                                                               c.attention_bias, false))),
        mlp(register_module("mlp", nn::GatedMlp(c.hidden_size, c.out_hidden_size, c.hidden_act))) {}

  Tensor forward(Tensor x, const VisionPass& pass) {
    x = x + attn(norm1(x), pass);
    return x + mlp(norm2(x));
  }
};
TORCH_MODULE(Glm4vVisionBlock);

struct Glm4vVisionPatchMergerImpl : nn::Module {
  nn::Linear proj, gate_proj, up_proj, down_proj;
  nn::LayerNorm post_projection_norm;
  Activation act;

  Glm4vVisionPatchMergerImpl(int64_t dim, int64_t context_dim, const std::string& act)
      : proj(register_module("proj", nn::Linear(dim, dim, false))),
        gate_proj(register_module("gate_proj", nn::Linear(dim, context_dim, false))),
        up_proj(register_module("up_proj", nn::Linear(dim, context_dim, false))),
        down_proj(register_module("down_proj", nn::Linear(context_dim, dim, false))),
        post_projection_norm(register_module("post_projection_norm", nn::LayerNorm(dim))),
        act(activation(act)) {}

  Tensor forward(Tensor x) {
    x = at::gelu(post_projection_norm(proj(x)));
    return down_proj(act(gate_proj(x)) * up_proj(x));
  }
};
TORCH_MODULE(Glm4vVisionPatchMerger);

struct Glm4vVisionModelImpl : nn::Module {
  int64_t merge, head_dim;
  Glm4vVisionEmbeddings embeddings;
  qwen2_vl::PatchEmbed patch_embed;
  nn::Layers<Glm4vVisionBlock> blocks;
  Glm4vVisionPatchMerger merger;
  nn::RMSNorm post_conv_layernorm, post_layernorm;
  nn::Conv2d downsample;

  explicit Glm4vVisionModelImpl(const Glm4vVisionConfig& c)
      : merge(checked(c).spatial_merge_size),
        head_dim(c.hidden_size / c.num_heads),
        embeddings(register_module("embeddings", Glm4vVisionEmbeddings(c))),
        patch_embed(register_module("patch_embed", qwen2_vl::PatchEmbed(c.in_channels, c.temporal_patch_size,
                                                                        c.patch_size, c.hidden_size, true))),
        blocks(register_module("blocks",
                               nn::Layers<Glm4vVisionBlock>(c.depth, [&](int64_t) { return Glm4vVisionBlock(c); }))),
        merger(register_module("merger", Glm4vVisionPatchMerger(c.out_hidden_size, c.intermediate_size, c.hidden_act))),
        post_conv_layernorm(register_module("post_conv_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_layernorm(register_module("post_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        downsample(register_module("downsample", nn::Conv2d(c.hidden_size, c.out_hidden_size, merge,
                                                            nn::ConvOptions<2>{.stride = nn::extent<2>(merge)}))) {}

  static const Glm4vVisionConfig& checked(const Glm4vVisionConfig& c) {
    if (c.num_heads <= 0 || c.hidden_size % (4 * c.num_heads) != 0 || c.spatial_merge_size <= 0 || c.patch_size <= 0 ||
        c.temporal_patch_size <= 0 || c.image_size < c.patch_size || c.image_size / c.patch_size > 1 << 15) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: vision_config: hidden_size (", c.hidden_size,
                         ") has to be a multiple of 4 * num_heads (", c.num_heads, "), image_size (", c.image_size,
                         ") at least patch_size (", c.patch_size,
                         "), and spatial_merge_size, patch_size and temporal_patch_size above 0"));
    }
    return c;
  }

  // pixels [patches, channels * time * size * size], grid_thw [images, 3] -> [patches / merge^2, out_hidden]
  Tensor forward(const Tensor& pixels, const Tensor& grid_thw) {
    Tensor x = post_conv_layernorm(patch_embed(pixels));
    const auto grids = qwen2_vl::grids_of(grid_thw, merge, x.size(0));
    const Tensor positions = qwen2_vl::patch_positions(grids, merge);
    const auto [cos, sin] = qwen2_vl::patch_rotary(positions, head_dim);
    const VisionPass pass{cos.unsqueeze(0), sin.unsqueeze(0), qwen2_vl::frame_lengths(grids)};
    x = embeddings(x, grids, positions);
    for (auto& block : *blocks) x = block(x, pass);
    x = post_layernorm(x).view({-1, merge, merge, x.size(-1)}).permute({0, 3, 1, 2});
    return merger(downsample(x).flatten(1));
  }
};
TORCH_MODULE(Glm4vVisionModel);

struct Glm4vTextAttentionImpl : nn::Module {
  int64_t heads, kv_heads;
  double dropout;
  size_t layer;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  Glm4vTextAttentionImpl(const Glm4vTextConfig& c, size_t layer)
      : heads(c.num_attention_heads),
        kv_heads(*c.num_key_value_heads),
        dropout(c.attention_dropout),
        layer(layer),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, heads * c.head_size()))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, kv_heads * c.head_size()))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, kv_heads * c.head_size()))),
        o_proj(register_module("o_proj", nn::Linear(heads * c.head_size(), c.hidden_size, false))) {}

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, DecoderCall& call) {
    const Tensor q = nn::apply_rotary_interleaved(split_heads(q_proj(x), heads), call.cos, call.sin),
                 k = nn::apply_rotary_interleaved(split_heads(k_proj(x), kv_heads), call.cos, call.sin);
    return o_proj(merge_heads(
        call.attend(layer, q, k, split_heads(v_proj(x), kv_heads), {.dropout = is_training() ? dropout : 0})));
  }
};
TORCH_MODULE(Glm4vTextAttention);

struct Glm4vTextDecoderLayerImpl : nn::Module {
  Glm4vTextAttention self_attn;
  nn::FusedGatedMlp mlp;
  nn::RMSNorm input_layernorm, post_attention_layernorm, post_self_attn_layernorm, post_mlp_layernorm;

  Glm4vTextDecoderLayerImpl(const Glm4vTextConfig& c, size_t layer)
      : self_attn(register_module("self_attn", Glm4vTextAttention(c, layer))),
        mlp(register_module("mlp", nn::FusedGatedMlp(c))),
        input_layernorm(register_module("input_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_self_attn_layernorm(
            register_module("post_self_attn_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_mlp_layernorm(register_module("post_mlp_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  Tensor forward(Tensor x, DecoderCall& call) {
    x = x + post_self_attn_layernorm(self_attn(input_layernorm(x), call));
    return x + post_mlp_layernorm(mlp(post_attention_layernorm(x)));
  }
};
TORCH_MODULE(Glm4vTextDecoderLayer);

struct Glm4vTextModel : PreTrainedModel {
  using Config = Glm4vTextConfig;

  const Glm4vTextConfig& c;
  nn::RotaryEmbedding rotary;
  nn::Embedding embed_tokens;
  nn::Layers<Glm4vTextDecoderLayer> layers;
  nn::RMSNorm norm;

  explicit Glm4vTextModel(const Glm4vTextConfig& config)
      : PreTrainedModel(config),
        c(config),
        rotary({.dim = c.rotary_dim(),
                .theta = c.rope_theta,
                .max_position_embeddings = c.max_position_embeddings,
                .scaling = c.rope_scaling}),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size, c.pad_token_id))),
        layers(register_module(
            "layers",
            nn::Layers<Glm4vTextDecoderLayer>(
                c.num_hidden_layers, [&](int64_t i) { return Glm4vTextDecoderLayer(c, static_cast<size_t>(i)); }))),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  nn::Embedding get_input_embeddings() override { return embed_tokens; }
  std::span<const std::string_view> arguments() const override { return kDecoderArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs rest = inputs;
    rest.set("position_ids", {});
    DecoderCall call(rest, c, c.use_cache, embed_tokens);
    const auto [cos, sin] = qwen2_vl::rotary_of(rotary, qwen2_vl::three_directions(inputs, call));
    call.cos = qwen2_vl::sections(cos, c.rope_scaling);
    call.sin = qwen2_vl::sections(sin, c.rope_scaling);
    Tensor x = call.x;
    for (auto& layer : *layers) {
      call.see(x);
      x = layer(x, call);
    }
    return call.finish(norm(x));
  }
};

struct Glm4vModel : qwen2_vl::GridModel<Glm4vConfig, Glm4vVisionModel, Glm4vTextModel> {
  using GridModel::GridModel;

  // Frames of videos stand as images between the video's marks.
  int64_t video_placeholder() const override { return c.image_token_id; }

  // Runs of image tokens are images, or between a video's marks its frames, whose time is 0.
  qwen2_vl::Positions placed(const Tensor& input_ids, const Tensor& image_grids, const Tensor& video_grids,
                             const Tensor& attention_mask, const ModelInputs&) const override {
    const int64_t batch = input_ids.size(0), seq = input_ids.size(1), merge = c.vision_config.spatial_merge_size;
    Tensor all = at::ones({3, batch, seq}, at::kLong);
    std::vector<int64_t> deltas;
    int64_t image = 0, video = 0, frame = 0;
    for (int64_t row = 0; row < batch; ++row) {
      const Tensor seen = attention_mask.defined() ? attention_mask[row] == 1 : at::ones({seq}, at::kBool);
      const Tensor tokens = input_ids[row].masked_select(seen).contiguous();
      const int64_t* ids = tokens.const_data_ptr<int64_t>();
      std::vector<Tensor> parts;
      int64_t next = 0;
      bool in_video = false;
      for (int64_t i = 0; i < tokens.numel();) {
        const int64_t start = i;
        if (ids[i] != c.image_token_id) {
          for (; i < tokens.numel() && ids[i] != c.image_token_id; ++i) {
            if (ids[i] == c.video_start_token_id) in_video = true;
            if (ids[i] == c.video_end_token_id) in_video = false;
          }
          parts.push_back((at::arange(i - start) + next).unsqueeze(0).expand({3, i - start}));
        } else {
          while (i < tokens.numel() && ids[i] == c.image_token_id) ++i;
          const Tensor& grids = in_video ? video_grids : image_grids;
          const int64_t which = in_video ? video : image;
          if (!grids.defined() || which >= grids.size(0)) {
            throw Error(ErrorCode::invalid_value, concat("input_ids name more ", in_video ? "videos" : "images",
                                                         " than there are rows of grids"));
          }
          const int64_t t = in_video ? 1 : grids[which][0].item<int64_t>(), h = grids[which][1].item<int64_t>() / merge,
                        w = grids[which][2].item<int64_t>() / merge;
          if (t * h * w != i - start) {
            throw Error(ErrorCode::invalid_value, concat("an image of ", t, " x ", h, " x ", w, " blocks has ",
                                                         i - start, " placeholders in input_ids"));
          }
          const std::array<int64_t, 3> shape = {t, h, w};
          parts.push_back(at::stack({at::arange(t).view({-1, 1, 1}).expand(shape).flatten(),
                                     at::arange(h).view({1, -1, 1}).expand(shape).flatten(),
                                     at::arange(w).view({1, 1, -1}).expand(shape).flatten()}) +
                          next);
          if (!in_video) {
            ++image;
          } else if (++frame >= grids[which][0].item<int64_t>()) {
            ++video;
            frame = 0;
          }
        }
        next = parts.back().max().item<int64_t>() + 1;
      }
      if (parts.empty()) throw Error(ErrorCode::invalid_value, "a row of input_ids has nothing but padding");
      const Tensor positions = at::cat(parts, 1);
      all.select(1, row).masked_scatter_(seen.expand({3, seq}), positions);
      deltas.push_back(positions.max().item<int64_t>() + 1 - seq);
    }
    return {all, at::tensor(deltas, at::kLong).unsqueeze(1)};
  }
};

struct Glm4vForConditionalGeneration : qwen2_vl::GridConditionalGeneration<Glm4vModel> {
  using GridConditionalGeneration::GridConditionalGeneration;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

BACKPLANE_PLUGIN(glm4v, plugin) {
  plugin.config<Glm4vTextConfig>();
  plugin.model<Glm4vTextModel>(Auto::Model);
  plugin.config<Glm4vConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Glm4vImageProcessor", "Glm4vImageProcessorFast");
  plugin.preprocessor(Auto::VideoProcessor, "Glm4vVideoProcessor");
  plugin.preprocessor(Auto::Processor, "Glm4vProcessor");
  plugin.model<Glm4vModel>(Auto::Model);
  plugin.model<Glm4vForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::glm4v
