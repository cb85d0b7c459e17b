// Pixtral's vision tower: Agrawal et al. 2024, https://arxiv.org/abs/2410.07073
// LLaMA's blocks over the patches of all images in one row, each image attending to itself, with rotary positions of
// rows and columns. The language model around it is LLaVA. Reference: transformers, models/pixtral/modeling_pixtral.py

#include <backplane/nn/mlp.h>
#include <backplane/nn/multimodal.h>

#include "configuration_pixtral.h"

namespace backplane::pixtral {

struct Pass {
  Tensor cos, sin;  // [1, patches, head_dim / 2]
  std::vector<int64_t> lengths;
  bool keep_attentions;
  std::vector<Tensor> attentions = {};
};

struct PixtralAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear k_proj, v_proj, q_proj, o_proj;

  explicit PixtralAttentionImpl(const PixtralVisionConfig& c)
      : heads(c.num_attention_heads),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size, false))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size, false))),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size, false))),
        o_proj(register_module("o_proj", nn::Linear(c.hidden_size, c.hidden_size, false))) {}

  // x [1, patches, hidden] -> [1, patches, hidden]
  Tensor forward(const Tensor& x, Pass& pass) {
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), heads), pass.cos, pass.sin),
                 k = nn::apply_rotary(split_heads(k_proj(x), heads), pass.cos, pass.sin);
    Tensor probs;
    const Tensor y = segmented_attention(q, k, split_heads(v_proj(x), heads), pass.lengths,
                                         {.dropout = is_training() ? dropout : 0,
                                          .implementation = implementation,
                                          .probs = pass.keep_attentions ? &probs : nullptr});
    if (pass.keep_attentions) pass.attentions.push_back(probs);
    return o_proj(merge_heads(y));
  }
};
TORCH_MODULE(PixtralAttention);

struct PixtralAttentionLayerImpl : nn::Module {
  nn::RMSNorm attention_norm, ffn_norm;
  nn::GatedMlp feed_forward;
  PixtralAttention attention;

  explicit PixtralAttentionLayerImpl(const PixtralVisionConfig& c)
      : attention_norm(register_module("attention_norm", nn::RMSNorm(c.hidden_size, 1e-5))),
        ffn_norm(register_module("ffn_norm", nn::RMSNorm(c.hidden_size, 1e-5))),
        feed_forward(register_module("feed_forward", nn::GatedMlp(c))),
        attention(register_module("attention", PixtralAttention(c))) {}

  Tensor forward(Tensor x, Pass& pass) {
    x = x + attention(attention_norm(x), pass);
    return x + feed_forward(ffn_norm(x));
  }
};
TORCH_MODULE(PixtralAttentionLayer);

struct PixtralTransformerImpl : nn::Module {
  nn::Layers<PixtralAttentionLayer> layers;

  explicit PixtralTransformerImpl(const PixtralVisionConfig& c)
      : layers(register_module("layers", nn::Layers<PixtralAttentionLayer>(
                                             c.num_hidden_layers, [&](int64_t) { return PixtralAttentionLayer(c); }))) {
  }
};
TORCH_MODULE(PixtralTransformer);

struct PixtralVisionModel : PreTrainedModel {
  using Config = PixtralVisionConfig;

  const PixtralVisionConfig& c;
  nn::Conv2d patch_conv;
  nn::RMSNorm ln_pre;
  PixtralTransformer transformer;

  explicit PixtralVisionModel(const PixtralVisionConfig& config)
      : PreTrainedModel(config),
        c(config),
        patch_conv(register_module(
            "patch_conv", nn::Conv2d(c.num_channels, c.hidden_size, c.patch_size,
                                     nn::ConvOptions<2>{.stride = nn::extent<2>(c.patch_size), .with_bias = false}))),
        ln_pre(register_module("ln_pre", nn::RMSNorm(c.hidden_size, 1e-5))),
        transformer(register_module("transformer", PixtralTransformer(c))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vision_encoder"}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 4> kNames = {"pixel_values", "image_sizes", "output_hidden_states",
                                                               "output_attentions"};
    return kNames;
  }

  // pixel_values [images, channels, height, width], image_sizes [images, 2] in pixels -> states [1, patches, hidden]
  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = inputs["pixel_values"], sizes = inputs.tensor("image_sizes");
    const Tensor grid = patch_conv(pixels.to(patch_conv->weight.scalar_type()));
    if (sizes.defined() && sizes.size(0) != grid.size(0)) {
      throw Error(ErrorCode::invalid_value,
                  concat("image_sizes has ", sizes.size(0), " rows for ", grid.size(0), " images"));
    }
    Pass pass{.keep_attentions = inputs.flag("output_attentions", c.output_attentions)};
    std::vector<Tensor> patches, positions;
    const int64_t side = c.image_size / c.patch_size;
    for (int64_t i = 0; i < grid.size(0); ++i) {
      const auto extent = [&](int64_t axis) {
        const int64_t pixels_there = sizes.defined() ? sizes[i][axis].item<int64_t>() : pixels.size(2 + axis);
        return std::clamp<int64_t>(pixels_there / c.patch_size, 0, grid.size(2 + axis));
      };
      const int64_t height = extent(0), width = extent(1);
      patches.push_back(grid[i].slice(1, 0, height).slice(2, 0, width).flatten(1).t());
      positions.push_back((at::arange(height).unsqueeze(1) * side + at::arange(width)).flatten());
      pass.lengths.push_back(height * width);
    }
    std::tie(pass.cos, pass.sin) = rotary(at::cat(positions), side);
    Tensor x = ln_pre(at::cat(patches).unsqueeze(0));
    std::vector<Tensor> hidden_states;
    const bool keep = inputs.flag("output_hidden_states", c.output_hidden_states);
    for (auto& layer : *transformer->layers) {
      if (keep) hidden_states.push_back(x);
      x = layer(x, pass);
    }
    if (keep) hidden_states.push_back(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("hidden_states", hidden_states);
    output.set("attentions", pass.attentions);
    return output;
  }

  // Positions row * side + column [patches] -> cos, sin [1, patches, head_dim / 2]; frequencies turn with rows and
  // columns by turns.
  std::pair<Tensor, Tensor> rotary(const Tensor& positions, int64_t side) const {
    if (positions.numel() > 0 && positions.max().item<int64_t>() >= side * side) {
      throw Error(ErrorCode::invalid_value, concat("an image is larger than ", side, " x ", side,
                                                   " patches; scale it to image_size (", c.image_size, ") at most"));
    }
    const Tensor freqs =
        1.0 / at::pow(c.rope_theta, at::arange(0, c.head_dim, 2, at::kFloat) / static_cast<double>(c.head_dim));
    const Tensor rows = positions.div(side, "floor").to(at::kFloat).unsqueeze(1) * freqs.slice(0, 0, {}, 2),
                 columns = positions.remainder(side).to(at::kFloat).unsqueeze(1) * freqs.slice(0, 1, {}, 2);
    const Tensor angles = at::cat({rows, columns}, -1).unsqueeze(0);
    return {angles.cos(), angles.sin()};
  }
};

// The reference lists LLaVA's class for this type, too, though a tower's configuration makes no such model.
struct LlavaForConditionalGeneration : PreTrainedModel {
  using Config = PixtralVisionConfig;
  explicit LlavaForConditionalGeneration(const PixtralVisionConfig& c) : PreTrainedModel(c) {
    throw Error(ErrorCode::bad_config,
                "config.json: a configuration of type 'pixtral' is a vision tower without a language model; files of "
                "Pixtral have the type 'llava'");
  }
  std::span<const std::string_view> arguments() const override { return {}; }
  ModelOutput compute(const ModelInputs&) override { return {}; }
};

BACKPLANE_PLUGIN(pixtral, plugin) {
  plugin.config<PixtralVisionConfig>();
  plugin.tokenizer("", "PreTrainedTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "PixtralImageProcessor", "PixtralImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "PixtralProcessor");
  plugin.model<PixtralVisionModel>(Auto::Model);
  plugin.model<LlavaForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::pixtral
