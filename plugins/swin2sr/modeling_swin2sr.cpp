// Swin2SR: Conde et al. 2022, https://arxiv.org/abs/2209.11345
// Stages of Swin V2 layers at one resolution, each with a convolution and a residual, then an upsampler. Reference:
// transformers, models/swin2sr/modeling_swin2sr.py

#include "../swinv2/modeling_swinv2.h"
#include "configuration_swin2sr.h"

namespace backplane::swin2sr {

static nn::Conv2d conv3(int64_t in, int64_t out) { return nn::Conv2d(in, out, 3, nn::Square{.padding = 1}); }
static Tensor leaky(const Tensor& x) { return at::leaky_relu(x, 0.01); }
static Tensor leaky_02(const Tensor& x) { return at::leaky_relu(x, 0.2); }

struct Swin2SRPatchEmbeddingsImpl : nn::Module {
  nn::Conv2d projection;
  nn::LayerNorm layernorm{nullptr};

  Swin2SRPatchEmbeddingsImpl(const Swin2SRConfig& c, bool normalises)
      : projection(register_module("projection",
                                   nn::Conv2d(c.embed_dim, c.embed_dim, size_of(c.patch_size, "patch_size"),
                                              nn::ConvOptions<2>{.stride = size_of(c.patch_size, "patch_size")}))) {
    if (normalises) layernorm = register_module("layernorm", nn::LayerNorm(c.embed_dim));
  }

  // The tokens, and how many rows and columns they are.
  std::pair<Tensor, Size2> forward(const Tensor& map) {
    const Tensor x = projection(map), tokens = map_to_tokens(x);
    return {layernorm ? layernorm(tokens) : tokens, {x.size(2), x.size(3)}};
  }
};
TORCH_MODULE(Swin2SRPatchEmbeddings);

struct Swin2SREmbeddingsImpl : nn::Module {
  Swin2SRPatchEmbeddings patch_embeddings;
  Tensor position_embeddings;
  nn::Dropout dropout;

  explicit Swin2SREmbeddingsImpl(const Swin2SRConfig& c)
      : patch_embeddings(register_module("patch_embeddings", Swin2SRPatchEmbeddings(c, true))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    if (c.use_absolute_embeddings) {
      const Size2 grid = patch_grid(c.image_size, c.patch_size);
      position_embeddings =
          register_parameter("position_embeddings", nn::parameter({1, grid[0] * grid[1] + 1, c.embed_dim}));
    }
  }

  std::pair<Tensor, Size2> forward(const Tensor& map) {
    auto [x, size] = patch_embeddings->forward(map);
    if (position_embeddings.defined()) x = x + position_embeddings;
    return {dropout(x), size};
  }
};
TORCH_MODULE(Swin2SREmbeddings);

struct Swin2SRStageImpl : nn::Module {
  nn::Layers<swinv2::Swinv2Layer> layers{nullptr};
  nn::Conv2d conv{nullptr};
  nn::Sequence convs{nullptr};
  Swin2SRPatchEmbeddings patch_embed;

  Swin2SRStageImpl(const Swin2SRConfig& c, size_t stage)
      : patch_embed(register_module("patch_embed", Swin2SRPatchEmbeddings(c, false))) {
    const Size2 grid = patch_grid(c.image_size, c.patch_size);
    layers = register_module("layers", nn::Layers<swinv2::Swinv2Layer>(c.depths[stage], [&](int64_t i) {
                               return swinv2::Swinv2Layer(c, c.embed_dim, c.num_heads[stage], grid, 0.0, i % 2 == 1,
                                                          int64_t{0});
                             }));
    const int64_t dim = c.embed_dim;
    if (c.resi_connection == "1conv") {
      conv = register_module("conv", conv3(dim, dim));
    } else {
      convs = register_module("conv", nn::Sequence(conv3(dim, dim / 4), leaky_02, nn::Conv2d(dim / 4, dim / 4, 1),
                                                   leaky_02, conv3(dim / 4, dim)));
    }
  }

  Tensor forward(const Tensor& x, Size2 size, Trace& trace) {
    Tensor h = x;
    for (auto& layer : *layers) h = layer(h, size, false, trace);
    const Tensor map = tokens_to_map(h, size);
    return patch_embed->forward(conv ? conv(map) : convs(map)).first + x;
  }
};
TORCH_MODULE(Swin2SRStage);

struct Swin2SREncoderImpl : nn::Module {
  nn::Layers<Swin2SRStage> stages;

  explicit Swin2SREncoderImpl(const Swin2SRConfig& c)
      : stages(register_module("stages", nn::Layers<Swin2SRStage>(c.num_layers, [&](int64_t i) {
                                 return Swin2SRStage(c, static_cast<size_t>(i));
                               }))) {}

  Tensor forward(Tensor x, Size2 size, Trace& trace) {
    trace.hidden_state(x);
    for (auto& stage : *stages) {
      x = stage(x, size, trace);
      trace.hidden_state(x);
    }
    return x;
  }
};
TORCH_MODULE(Swin2SREncoder);

struct Swin2SRPreTrainedModel : PreTrainedModel {
  using Config = Swin2SRConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "swin2sr",
            .ignore_unexpected = {"relative_position_index$", "relative_coords_table$"}};
  }
};

constexpr std::array<std::string_view, 3> kImageArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct Swin2SRModel : Swin2SRPreTrainedModel {
  const Swin2SRConfig& c;
  Tensor mean;  // of the images that it was trained on, [1, channels, 1, 1]
  nn::Conv2d first_convolution;
  Swin2SREmbeddings embeddings;
  Swin2SREncoder encoder;
  nn::LayerNorm layernorm;
  nn::Conv2d conv_after_body;

  explicit Swin2SRModel(const Swin2SRConfig& config)
      : Swin2SRPreTrainedModel(config),
        c(config),
        mean(c.num_channels == 3 && *c.num_channels_out == 3
                 ? at::tensor({0.4488f, 0.4371f, 0.4040f}).view({1, 3, 1, 1})
                 : at::zeros({1, 1, 1, 1})),
        first_convolution(register_module("first_convolution", conv3(c.num_channels, c.embed_dim))),
        embeddings(register_module("embeddings", Swin2SREmbeddings(c))),
        encoder(register_module("encoder", Swin2SREncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.embed_dim, c.layer_norm_eps))),
        conv_after_body(register_module("conv_after_body", conv3(c.embed_dim, c.embed_dim))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, c.num_channels);
    const int64_t w = c.window_size, bottom = (w - pixels.size(2) % w) % w, right = (w - pixels.size(3) % w) % w;
    if (bottom >= pixels.size(2) || right >= pixels.size(3)) {
      throw Error(ErrorCode::invalid_value, concat("images of ", pixels.size(2), " x ", pixels.size(3),
                                                   " pixels are too small for windows of ", w));
    }
    const Tensor padded = bottom || right ? at::reflection_pad2d(pixels, {0, right, 0, bottom}) : pixels;
    const Tensor map = first_convolution((padded - mean.to(pixels.scalar_type())) * c.img_range);
    const auto [tokens, size] = embeddings->forward(map);
    const Tensor x = tokens_to_map(layernorm(encoder(tokens, size, trace)), {map.size(2), map.size(3)});
    ModelOutput output;
    output.set("last_hidden_state", conv_after_body(x) + map);
    trace.write(output);
    return output;
  }
};

// Shi et al. 2016, https://arxiv.org/abs/1609.05158: by factors of 2, or by 3
struct UpsampleImpl : nn::Module {
  std::vector<nn::Conv2d> convolutions;
  int64_t factor;

  UpsampleImpl(int64_t scale, int64_t features) : factor(scale == 3 ? 3 : 2) {
    if (scale == 3) {
      convolutions.push_back(register_module("convolution", conv3(features, 9 * features)));
    } else {
      for (int64_t left = scale, i = 0; left > 1; left /= 2, ++i)
        convolutions.push_back(register_module("convolution_" + std::to_string(i), conv3(features, 4 * features)));
    }
  }

  Tensor forward(Tensor x) {
    for (auto& convolution : convolutions) x = at::pixel_shuffle(convolution(x), factor);
    return x;
  }
};
TORCH_MODULE(Upsample);

// The upsamplers differ in their modules; those of one kind are empty in the others.
struct UpsamplerImpl : nn::Module {
  static constexpr int64_t kFeatures = 64;
  std::string kind;
  int64_t upscale;
  nn::Conv2d conv_before_upsample{nullptr}, final_convolution{nullptr}, conv_up1{nullptr}, conv_up2{nullptr},
      conv_hr{nullptr}, conv_bicubic{nullptr}, conv_aux{nullptr}, conv{nullptr};
  nn::Sequence conv_after_aux{nullptr};
  Upsample upsample{nullptr};

  explicit UpsamplerImpl(const Swin2SRConfig& c) : kind(c.upsampler), upscale(c.upscale) {
    if (kind == "pixelshuffledirect") {
      conv = register_module("conv", conv3(c.embed_dim, upscale * upscale * *c.num_channels_out));
      return;
    }
    if (kind == "pixelshuffle_aux") conv_bicubic = register_module("conv_bicubic", conv3(c.num_channels, kFeatures));
    conv_before_upsample = register_module("conv_before_upsample", conv3(c.embed_dim, kFeatures));
    if (kind == "pixelshuffle_aux") {
      conv_aux = register_module("conv_aux", conv3(kFeatures, c.num_channels));
      conv_after_aux = register_module("conv_after_aux", nn::Sequence(conv3(3, kFeatures), leaky));
    }
    if (kind == "nearest+conv") {
      conv_up1 = register_module("conv_up1", conv3(kFeatures, kFeatures));
      conv_up2 = register_module("conv_up2", conv3(kFeatures, kFeatures));
      conv_hr = register_module("conv_hr", conv3(kFeatures, kFeatures));
    } else {
      upsample = register_module("upsample", Upsample(upscale, kFeatures));
    }
    final_convolution = register_module("final_convolution", conv3(kFeatures, *c.num_channels_out));
  }

  Tensor forward(const Tensor& x, const Tensor& pixels) {
    if (conv) return at::pixel_shuffle(conv(x), upscale);
    Tensor h = leaky(conv_before_upsample(x));
    if (conv_up1) {
      const auto twice = [](const Tensor& y) { return resize(y, {2 * y.size(2), 2 * y.size(3)}, Resampling::nearest); };
      h = leaky_02(conv_up1(twice(h)));
      h = leaky_02(conv_up2(twice(h)));
      return final_convolution(leaky_02(conv_hr(h)));
    }
    if (!conv_aux) return final_convolution(upsample(h));
    const Size2 size = {upscale * pixels.size(2), upscale * pixels.size(3)};
    const Tensor bicubic = conv_bicubic(resize(pixels, size, Resampling::bicubic));
    h = upsample(conv_after_aux(conv_aux(h))).slice(2, 0, size[0]).slice(3, 0, size[1]);
    return final_convolution(h + bicubic);
  }
};
TORCH_MODULE(Upsampler);

struct Swin2SRForImageSuperResolution : Swin2SRPreTrainedModel {
  const Swin2SRConfig& c;
  std::shared_ptr<Swin2SRModel> swin2sr;
  Upsampler upsample{nullptr};
  nn::Conv2d final_convolution{nullptr};

  explicit Swin2SRForImageSuperResolution(const Swin2SRConfig& config)
      : Swin2SRPreTrainedModel(config),
        c(config),
        swin2sr(register_module("swin2sr", std::make_shared<Swin2SRModel>(c))) {
    const bool known = c.upsampler == "pixelshuffle" || c.upsampler == "pixelshuffle_aux" ||
                       c.upsampler == "pixelshuffledirect" || c.upsampler == "nearest+conv";
    if (known) {
      upsample = register_module("upsample", Upsampler(c));
    } else {
      final_convolution = register_module("final_convolution", conv3(c.embed_dim, *c.num_channels_out));
    }
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = swin2sr->forward(inputs);
    const Tensor x = base["last_hidden_state"], pixels = inputs["pixel_values"];
    Tensor image = upsample ? upsample(x, pixels) : pixels + final_convolution(x);
    image = image / c.img_range + swin2sr->mean.to(image.scalar_type());
    ModelOutput output;
    output.set("reconstruction", image.slice(2, 0, c.upscale * pixels.size(2)).slice(3, 0, c.upscale * pixels.size(3)));
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(swin2sr, plugin) {
  plugin.config<Swin2SRConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "Swin2SRImageProcessor", "Swin2SRImageProcessorFast");
  plugin.model<Swin2SRForImageSuperResolution>(Auto::ForImageToImage);
  plugin.model<Swin2SRModel>(Auto::Model);
}

}  // namespace backplane::swin2sr
