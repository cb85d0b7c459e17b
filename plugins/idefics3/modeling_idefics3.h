#pragma once

// Idefics3's vision tower, which sees images of any size, padded; its connector and its models.

#include <backplane/model/decoder.h>

#include "../clip/modeling_clip.h"
#include "configuration_idefics3.h"

namespace backplane::idefics3 {

// Positions are those of a square grid, at the same fraction of the image's height and width.
struct Idefics3VisionEmbeddingsImpl : nn::Module {
  int64_t patch_size, side;
  nn::Conv2d patch_embedding;
  nn::Embedding position_embedding;

  template <class Config>
  explicit Idefics3VisionEmbeddingsImpl(const Config& c)
      : patch_size(clip::CLIPVisionEmbeddingsImpl::checked_patch(c.patch_size, c.image_size)),
        side(c.image_size / patch_size),
        patch_embedding(
            register_module("patch_embedding", nn::Conv2d(c.num_channels, c.hidden_size, patch_size,
                                                          nn::ConvOptions<2>{.stride = nn::extent<2>(patch_size)}))),
        position_embedding(register_module("position_embedding", nn::Embedding(side * side, c.hidden_size))) {}

  // Which of the grid's rows each of `count` rows of an image is. Fractions are rounded as the reference rounds them.
  Tensor buckets(int64_t count) const {
    const double step = static_cast<double>(1.0F / static_cast<float>(count));
    const Tensor boundaries =
        at::arange(1.0 / static_cast<double>(side), 1.0, 1.0 / static_cast<double>(side), at::kFloat);
    return at::bucketize(at::arange(0.0, 1.0 - 1e-6, step, at::kFloat), boundaries, false, true);
  }

  // pixel_values [images, channels, height, width], mask [images, rows, columns] bool -> [images, patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& mask) {
    const Tensor x = patch_embedding(pixel_values.to(patch_embedding->weight.scalar_type())).flatten(2).transpose(1, 2);
    Tensor positions = at::zeros({x.size(0), x.size(1)}, at::kLong);
    for (int64_t i = 0; i < x.size(0); ++i) {
      const int64_t rows = mask[i].select(1, 0).sum().item<int64_t>(), columns = mask[i][0].sum().item<int64_t>();
      if (rows == 0 || columns == 0 || mask[i].sum().item<int64_t>() != rows * columns) {
        throw Error(ErrorCode::invalid_value, concat("the mask of image ", i, " is no rectangle of patches"));
      }
      const Tensor ids = buckets(rows).unsqueeze(1) * side + buckets(columns);
      positions[i].masked_scatter_(mask[i].flatten(), ids.flatten());
    }
    return x + position_embedding(positions);
  }
};
TORCH_MODULE(Idefics3VisionEmbeddings);

inline constexpr std::array<std::string_view, 4> kVisionArguments = {"pixel_values", "patch_attention_mask",
                                                                     "output_attentions", "output_hidden_states"};

template <class C>
struct Idefics3VisionTransformerOf : PreTrainedModel {
  using Config = C;

  int64_t patch_size;
  Idefics3VisionEmbeddings embeddings;
  clip::CLIPEncoder encoder;
  nn::LayerNorm post_layernorm;

  explicit Idefics3VisionTransformerOf(const C& c)
      : PreTrainedModel(c),
        patch_size(c.patch_size),
        embeddings(register_module("embeddings", Idefics3VisionEmbeddings(c))),
        encoder(register_module("encoder", clip::CLIPEncoder(c))),
        post_layernorm(register_module("post_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  std::span<const std::string_view> arguments() const override { return kVisionArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = clip::required(inputs, "pixel_values");
    Tensor mask = inputs.tensor("patch_attention_mask");
    if (!mask.defined()) {
      mask = at::ones({pixels.size(0), pixels.size(2) / patch_size, pixels.size(3) / patch_size}, at::kBool);
    }
    mask = mask.to(at::kBool);
    clip::Pass pass(inputs, config());
    Tensor x = embeddings(pixels, mask);
    if (!mask.all().item<bool>()) pass.mask = padding_mask(mask.flatten(1).to(at::kLong), x.scalar_type());
    ModelOutput output;
    output.set("last_hidden_state", post_layernorm(encoder(x, pass)));
    pass.give(output);
    return output;
  }
};

// Blocks of patches become one embedding, mapped linearly.
struct Idefics3ConnectorImpl : nn::Module {
  struct SimpleMlpImpl : nn::Module {
    nn::Linear proj;
    SimpleMlpImpl(int64_t in, int64_t out) : proj(register_module("proj", nn::Linear(in, out, false))) {}
  };
  TORCH_MODULE(SimpleMlp);

  int64_t factor;
  SimpleMlp modality_projection;

  template <class Config>
  explicit Idefics3ConnectorImpl(const Config& c)
      : factor(c.scale_factor),
        modality_projection(register_module(
            "modality_projection",
            SimpleMlp(c.vision_config.hidden_size * factor * factor, int_field(*c.text_config, "hidden_size")))) {}

  // x [images, side^2, dim] -> [images, (side / factor)^2, hidden]
  Tensor forward(const Tensor& x) {
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    if (side * side != x.size(1) || side % factor != 0) {
      throw Error(ErrorCode::invalid_value, concat("an image has ", x.size(1),
                                                   " patches; expected a square of blocks of ", factor, " x ", factor));
    }
    const int64_t images = x.size(0), small = side / factor;
    Tensor y = x.reshape({images, side, small, -1}).permute({0, 2, 1, 3});
    y = y.reshape({images, small, small, -1}).permute({0, 2, 1, 3});
    return modality_projection->proj(y.reshape({images, small * small, -1}));
  }
};
TORCH_MODULE(Idefics3Connector);

inline constexpr auto kArguments =
    extend(kDecoderArguments, "pixel_values", "pixel_attention_mask", "image_hidden_states");

template <class C, class Vision>
struct Idefics3ModelOf : PreTrainedModel {
  using Config = C;
  static constexpr std::array<std::string_view, 3> kPromptOnly = {"pixel_values", "pixel_attention_mask",
                                                                  "image_hidden_states"};

  const C& c;
  std::shared_ptr<Vision> vision_model;
  Idefics3Connector connector;
  std::shared_ptr<PreTrainedModel> text_model;

  explicit Idefics3ModelOf(const C& config)
      : PreTrainedModel(config),
        c(config),
        vision_model(register_module("vision_model", std::make_shared<Vision>(c.vision_config))),
        connector(register_module("connector", Idefics3Connector(c))),
        text_model(register_module("text_model", make_model(Auto::Model, *c.text_config))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  nn::Embedding get_input_embeddings() override { return text_model->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  // Whether an image of nothing but zeros, which is padding, counts where there is no other.
  virtual bool keeps_one_image() const { return false; }

  // pixel_values [batch, images, channels, height, width], pixel_attention_mask [batch, images, height, width] ->
  // [images that are no padding, tokens, hidden]
  Tensor image_features(const Tensor& pixel_values, const Tensor& pixel_attention_mask) {
    if (pixel_values.dim() != 5) {
      throw Error(ErrorCode::invalid_value, concat("pixel_values has the shape ", pixel_values.sizes(),
                                                   "; expected [batch, images, channels, height, width]"));
    }
    Tensor pixels = pixel_values.flatten(0, 1);
    Tensor real = (pixels != 0).flatten(1).any(1);
    if (keeps_one_image() && !real.any().item<bool>()) real[0] = true;
    const Tensor kept = real.nonzero().squeeze(1);
    pixels = pixels.index_select(0, kept);
    const int64_t patch = c.vision_config.patch_size;
    ModelInputs call = {{"pixel_values", pixels}};
    if (pixel_attention_mask.defined()) {
      const Tensor mask = pixel_attention_mask.flatten(0, 1).index_select(0, kept);
      call.set("patch_attention_mask", mask.unfold(1, patch, patch).unfold(2, patch, patch).sum({-1, -2}) > 0);
    }
    return connector(vision_model->forward(call)["last_hidden_state"]);
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor ids = inputs.tensor("input_ids"), pixels = inputs.tensor("pixel_values");
    Tensor x = inputs.tensor("inputs_embeds"), features = inputs.tensor("image_hidden_states");
    if (!ids.defined() && !x.defined()) throw Error(ErrorCode::invalid_value, "give either input_ids or inputs_embeds");
    if (!x.defined()) x = get_input_embeddings()(ids);
    if (pixels.defined() && features.defined())
      throw Error(ErrorCode::invalid_value, "give either pixel_values or image_hidden_states");
    if (pixels.defined()) features = image_features(pixels, inputs.tensor("pixel_attention_mask"));
    const KvCachePtr cache = inputs.cache("past_key_values");
    if (features.defined() && ids.defined() && (!cache || cache->length() == 0)) {
      x = scatter_features(x, ids == c.image_token_id, features, "image");
    }
    ModelInputs call = for_language_model(inputs, *text_model, c, x);
    if (!inputs.contains("use_cache")) call.set("use_cache", c.use_cache);
    ModelOutput output = text_model->forward(call);
    output.set("image_hidden_states", features);
    return output;
  }
};

}  // namespace backplane::idefics3
