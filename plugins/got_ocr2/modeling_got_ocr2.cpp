// GOT-OCR2: Wei et al. 2024, https://arxiv.org/abs/2409.01704
// SAM's vision tower (windows, decomposed relative positions), two strided convolutions, any language model.
// Reference: transformers, models/got_ocr2/modeling_got_ocr2.py

#include <backplane/nn/uninitialised.h>

#include "../llava/modeling_llava.h"
#include "configuration_got_ocr2.h"

namespace backplane::got_ocr2 {

struct GotOcr2VisionAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  nn::Linear qkv, proj;
  Tensor rel_pos_h, rel_pos_w;  // [2 * size - 1, head_dim]

  GotOcr2VisionAttentionImpl(const GotOcr2VisionConfig& c, int64_t window)
      : heads(c.num_attention_heads),
        dropout(c.attention_dropout),
        qkv(register_module("qkv", nn::Linear(c.hidden_size, 3 * c.hidden_size, c.qkv_bias))),
        proj(register_module("proj", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (!c.use_rel_pos) return;
    const int64_t size = window == 0 ? c.image_size / c.patch_size : window, head_dim = c.hidden_size / heads;
    rel_pos_h = register_parameter("rel_pos_h", nn::uninitialised({2 * size - 1, head_dim}));
    rel_pos_w = register_parameter("rel_pos_w", nn::uninitialised({2 * size - 1, head_dim}));
  }

  // Positions of `size` queries to as many keys, interpolated from the table -> [size, size, head_dim]
  static Tensor relative(const Tensor& table, int64_t size) {
    const int64_t wanted = 2 * size - 1;
    const Tensor resized =
        table.size(0) == wanted ? table : at::upsample_linear1d(table.t().unsqueeze(0), {wanted}, false)[0].t();
    const Tensor distance = at::arange(size).unsqueeze(1) - at::arange(size).unsqueeze(0) + (size - 1);
    return resized.index({distance});
  }

  // x [batch, height, width, hidden] -> the same shape
  Tensor forward(const Tensor& x) {
    const int64_t batch = x.size(0), height = x.size(1), width = x.size(2);
    const auto parts = qkv(x).reshape({batch, height * width, 3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
    Tensor mask;
    if (rel_pos_h.defined()) {
      const Tensor q = parts[0].flatten(0, 1).unflatten(1, {height, width});  // [batch * heads, height, width, d]
      const Tensor rows = at::einsum("bhwc,hkc->bhwk", {q, relative(rel_pos_h, height)}),
                   columns = at::einsum("bhwc,wkc->bhwk", {q, relative(rel_pos_w, width)});
      mask = (rows.unsqueeze(-1) + columns.unsqueeze(-2)).reshape({batch, heads, height * width, height * width});
    }
    const Tensor y =
        attention(parts[0], parts[1], parts[2],
                  {.mask = mask, .dropout = is_training() ? dropout : 0, .implementation = AttnImplementation::eager});
    return proj(merge_heads(y).reshape({batch, height, width, -1}));
  }
};
TORCH_MODULE(GotOcr2VisionAttention);

struct GotOcr2MLPBlockImpl : nn::Module {
  nn::Linear lin1, lin2;
  Activation act;

  explicit GotOcr2MLPBlockImpl(const GotOcr2VisionConfig& c)
      : lin1(register_module("lin1", nn::Linear(c.hidden_size, c.mlp_dim))),
        lin2(register_module("lin2", nn::Linear(c.mlp_dim, c.hidden_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return lin2(act(lin1(x))); }
};
TORCH_MODULE(GotOcr2MLPBlock);

struct GotOcr2VisionLayerImpl : nn::Module {
  int64_t window;  // patches a side; 0: the whole image
  nn::LayerNorm layer_norm1, layer_norm2;
  GotOcr2VisionAttention attn;
  GotOcr2MLPBlock mlp;

  GotOcr2VisionLayerImpl(const GotOcr2VisionConfig& c, int64_t window)
      : window(window),
        layer_norm1(register_module("layer_norm1", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        layer_norm2(register_module("layer_norm2", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        attn(register_module("attn", GotOcr2VisionAttention(c, window))),
        mlp(register_module("mlp", GotOcr2MLPBlock(c))) {}

  Tensor forward(Tensor x) {
    const Tensor y = layer_norm1(x);
    x = x + (window > 0 ? windowed(y) : attn(y));
    return x + mlp(layer_norm2(x));
  }

  // Attention within windows; zeros fill up the last ones.
  Tensor windowed(const Tensor& x) {
    const int64_t batch = x.size(0), height = x.size(1), width = x.size(2);
    const auto missing = [&](int64_t size) { return (window - size % window) % window; };
    const Tensor padded = at::constant_pad_nd(x, {0, 0, 0, missing(width), 0, missing(height)});
    const int64_t rows = padded.size(1) / window, columns = padded.size(2) / window;
    Tensor y = padded.reshape({batch, rows, window, columns, window, -1}).permute({0, 1, 3, 2, 4, 5});
    y = attn(y.reshape({batch * rows * columns, window, window, -1}));
    y = y.reshape({batch, rows, columns, window, window, -1}).permute({0, 1, 3, 2, 4, 5});
    return y.reshape({batch, rows * window, columns * window, -1}).slice(1, 0, height).slice(2, 0, width);
  }
};
TORCH_MODULE(GotOcr2VisionLayer);

// Normalises the channels of [batch, channels, height, width].
struct ChannelNormImpl : nn::Module {
  Tensor weight, bias;

  explicit ChannelNormImpl(int64_t channels)
      : weight(register_parameter("weight", nn::uninitialised({channels}))),
        bias(register_parameter("bias", nn::uninitialised({channels}))) {}

  Tensor forward(const Tensor& x) {
    const Tensor wide = x.to(at::kFloat), mean = wide.mean(1, true);
    const Tensor normal = (wide - mean) / ((wide - mean).square().mean(1, true) + 1e-6).sqrt();
    return weight.view({-1, 1, 1}) * normal.to(x.scalar_type()) + bias.view({-1, 1, 1});
  }
};
TORCH_MODULE(ChannelNorm);

struct GotOcr2VisionNeckImpl : nn::Module {
  nn::Conv2d conv1, conv2;
  ChannelNorm layer_norm1, layer_norm2;

  explicit GotOcr2VisionNeckImpl(const GotOcr2VisionConfig& c)
      : conv1(register_module("conv1",
                              nn::Conv2d(c.hidden_size, c.output_channels, 1, nn::ConvOptions<2>{.with_bias = false}))),
        conv2(
            register_module("conv2", nn::Conv2d(c.output_channels, c.output_channels, 3,
                                                nn::ConvOptions<2>{.padding = nn::extent<2>(1), .with_bias = false}))),
        layer_norm1(register_module("layer_norm1", ChannelNorm(c.output_channels))),
        layer_norm2(register_module("layer_norm2", ChannelNorm(c.output_channels))) {}

  // x [batch, height, width, hidden] -> [batch, channels, height, width]
  Tensor forward(const Tensor& x) { return layer_norm2(conv2(layer_norm1(conv1(x.permute({0, 3, 1, 2}))))); }
};
TORCH_MODULE(GotOcr2VisionNeck);

struct GotOcr2VisionEncoderImpl : nn::Module {
  struct PatchEmbedImpl : nn::Module {
    nn::Conv2d projection;
    explicit PatchEmbedImpl(const GotOcr2VisionConfig& c)
        : projection(
              register_module("projection", nn::Conv2d(c.num_channels, c.hidden_size, c.patch_size,
                                                       nn::ConvOptions<2>{.stride = nn::extent<2>(c.patch_size)}))) {}
  };
  TORCH_MODULE(PatchEmbed);

  int64_t image_size;
  PatchEmbed patch_embed;
  Tensor pos_embed;
  nn::Layers<GotOcr2VisionLayer> layers;
  GotOcr2VisionNeck neck;

  explicit GotOcr2VisionEncoderImpl(const GotOcr2VisionConfig& c)
      : image_size(c.image_size),
        patch_embed(register_module("patch_embed", PatchEmbed(c))),
        layers(register_module(
            "layers", nn::Layers<GotOcr2VisionLayer>(c.num_hidden_layers,
                                                     [&](int64_t i) {
                                                       const auto& whole = c.global_attn_indexes;
                                                       const bool is_whole =
                                                           std::find(whole.begin(), whole.end(), i) != whole.end();
                                                       return GotOcr2VisionLayer(c, is_whole ? 0 : c.window_size);
                                                     }))),
        neck(register_module("neck", GotOcr2VisionNeck(c))) {
    const int64_t side = c.image_size / c.patch_size;
    if (c.use_abs_pos) pos_embed = register_parameter("pos_embed", nn::uninitialised({1, side, side, c.hidden_size}));
  }

  // pixel_values [batch, channels, size, size] -> [batch, output_channels, side, side]
  Tensor forward(const Tensor& pixel_values) {
    if (pixel_values.size(2) != image_size || pixel_values.size(3) != image_size) {
      throw Error(ErrorCode::invalid_value, concat("the images are ", pixel_values.size(2), " x ", pixel_values.size(3),
                                                   " pixels; the model takes ", image_size, " x ", image_size));
    }
    Tensor x = patch_embed->projection(pixel_values).permute({0, 2, 3, 1});
    if (pos_embed.defined()) x = x + pos_embed;
    for (auto& layer : *layers) x = layer(x);
    return neck(x);
  }
};
TORCH_MODULE(GotOcr2VisionEncoder);

struct GotOcr2MultiModalProjectorImpl : nn::Module {
  nn::Conv2d conv_upsampler1, conv_upsampler2;
  nn::Linear multimodal_projector;

  explicit GotOcr2MultiModalProjectorImpl(const GotOcr2Config& c)
      : GotOcr2MultiModalProjectorImpl(c.vision_config.output_channels, int_field(*c.text_config, "hidden_size")) {}

  GotOcr2MultiModalProjectorImpl(int64_t channels, int64_t hidden)
      : conv_upsampler1(register_module("conv_upsampler1", nn::Conv2d(channels, 2 * channels, 3, halving()))),
        conv_upsampler2(register_module("conv_upsampler2", nn::Conv2d(2 * channels, hidden, 3, halving()))),
        multimodal_projector(register_module("multimodal_projector", nn::Linear(hidden, hidden))) {}

  static nn::ConvOptions<2> halving() {
    return {.stride = nn::extent<2>(2), .padding = nn::extent<2>(1), .with_bias = false};
  }

  // x [batch, channels, side, side] -> [batch, tokens, hidden]
  Tensor forward(const Tensor& x) {
    return multimodal_projector(conv_upsampler2(conv_upsampler1(x)).flatten(2).transpose(1, 2));
  }
};
TORCH_MODULE(GotOcr2MultiModalProjector);

struct GotOcr2Model : PreTrainedModel {
  using Config = GotOcr2Config;
  static constexpr std::array<std::string_view, 1> kPromptOnly = {"pixel_values"};

  const GotOcr2Config& c;
  GotOcr2VisionEncoder vision_tower;
  GotOcr2MultiModalProjector multi_modal_projector;
  std::shared_ptr<PreTrainedModel> language_model;

  explicit GotOcr2Model(const GotOcr2Config& config)
      : PreTrainedModel(config),
        c(config),
        vision_tower(register_module("vision_tower", GotOcr2VisionEncoder(c.vision_config))),
        multi_modal_projector(register_module("multi_modal_projector", GotOcr2MultiModalProjector(c))),
        language_model(register_module("language_model", make_model(Auto::Model, *c.text_config))) {}

  CheckpointRules checkpoint_rules() const override {
    return {.renames = {{R"(language_model\.model)", "language_model"}}};
  }
  nn::Embedding get_input_embeddings() override { return language_model->get_input_embeddings(); }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kDecoderArguments, "pixel_values");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = llava::embedded(inputs, get_input_embeddings()), features;
    if (const Tensor pixels = inputs.tensor("pixel_values"); pixels.defined()) {
      features = multi_modal_projector(vision_tower(pixels.to(x.scalar_type())));
      const Tensor where = placeholder_mask(inputs.tensor("input_ids"), x, get_input_embeddings(), c.image_token_index);
      x = scatter_features(x, where, features, "image");
    }
    ModelOutput output = language_model->forward(for_language_model(inputs, *language_model, c, x));
    output.set("image_hidden_states", features);
    return output;
  }
};

struct GotOcr2ForConditionalGeneration : llava::LlavaHead<GotOcr2Model> {
  using LlavaHead::LlavaHead;
};

BACKPLANE_PLUGIN(got_ocr2, plugin) {
  plugin.config<GotOcr2Config>();
  plugin.preprocessor(Auto::ImageProcessor, "GotOcr2ImageProcessor", "GotOcr2ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "GotOcr2Processor");
  plugin.model<GotOcr2Model>(Auto::Model);
  plugin.model<GotOcr2ForConditionalGeneration>(Auto::ForCausalLM);
  plugin.model<GotOcr2ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::got_ocr2
