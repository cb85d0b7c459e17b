#pragma once

#include "../clip/modeling_clip.h"
#include "configuration_owlvit.h"

namespace backplane::owlvit {

inline constexpr std::array<std::string_view, 6> kArguments = {
    "input_ids",         "pixel_values",         "attention_mask",
    "output_attentions", "output_hidden_states", "interpolate_pos_encoding"};

// CLIP's towers with the norm's name right, and the token with the largest id for the text.
struct OwlViTVisionTransformerImpl : nn::Module {
  const PretrainedConfig& flags;
  clip::CLIPVisionEmbeddings embeddings;
  nn::LayerNorm pre_layernorm;
  clip::CLIPEncoder encoder;
  nn::LayerNorm post_layernorm;

  template <class Config>
  explicit OwlViTVisionTransformerImpl(const Config& c)
      : flags(c),
        embeddings(register_module("embeddings", clip::CLIPVisionEmbeddings(c))),
        pre_layernorm(register_module("pre_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        encoder(register_module("encoder", clip::CLIPEncoder(c))),
        post_layernorm(register_module("post_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  ModelOutput forward(const ModelInputs& inputs) {
    clip::Pass pass(inputs, flags);
    Tensor x = embeddings(clip::required(inputs, "pixel_values"), inputs.flag("interpolate_pos_encoding", false));
    x = encoder(pre_layernorm(x), pass);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", post_layernorm(x.select(1, 0)));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(OwlViTVisionTransformer);

struct OwlViTTextTransformerImpl : clip::CLIPTextTransformerImpl {
  template <class Config>
  explicit OwlViTTextTransformerImpl(const Config& c) : CLIPTextTransformerImpl(c, 2) {}
};
TORCH_MODULE(OwlViTTextTransformer);

template <class C>
struct OwlViTModelOf : clip::CLIPModelOf<C, OwlViTTextTransformer, OwlViTVisionTransformer> {
  using clip::CLIPModelOf<C, OwlViTTextTransformer, OwlViTVisionTransformer>::CLIPModelOf;

  nn::Embedding get_input_embeddings() override { return this->text_model->embeddings->token_embedding; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kArguments, "return_loss");
    return kNames;
  }
};

struct OwlViTBoxPredictionHeadImpl : nn::Module {
  nn::Linear dense0, dense1, dense2;

  OwlViTBoxPredictionHeadImpl(int64_t width, int64_t out)
      : dense0(register_module("dense0", nn::Linear(width, width))),
        dense1(register_module("dense1", nn::Linear(width, width))),
        dense2(register_module("dense2", nn::Linear(width, out))) {}

  Tensor forward(const Tensor& x) { return dense2(at::gelu(dense1(at::gelu(dense0(x))))); }
};
TORCH_MODULE(OwlViTBoxPredictionHead);

// Cosine of each patch and each query, shifted and scaled by what the patch says.
struct OwlViTClassPredictionHeadImpl : nn::Module {
  nn::Linear dense0, logit_shift, logit_scale;

  OwlViTClassPredictionHeadImpl(int64_t width, int64_t out)
      : dense0(register_module("dense0", nn::Linear(width, out))),
        logit_shift(register_module("logit_shift", nn::Linear(width, 1))),
        logit_scale(register_module("logit_scale", nn::Linear(width, 1))) {}

  // x [batch, patches, width], queries [batch, queries, out], mask [batch, queries] -> logits [batch, patches,
  // queries], embeddings [batch, patches, out]
  std::pair<Tensor, Tensor> forward(const Tensor& x, const Tensor& queries, const Tensor& mask) {
    const auto normal = [](const Tensor& y) { return y / (y.square().sum(-1, true).sqrt() + 1e-6); };
    const Tensor embeds = normal(dense0(x));
    Tensor logits = at::matmul(embeds, normal(queries).transpose(1, 2));
    logits = (logits + logit_shift(x)) * (at::elu(logit_scale(x)) + 1);
    if (mask.defined()) {
      const double lowest = lowest_where(at::ones({1}, at::kBool), logits.scalar_type()).item<double>();
      logits = logits.masked_fill(mask.logical_not().unsqueeze(-2), lowest).to(at::kFloat);
    }
    return {logits, embeds};
  }
};
TORCH_MODULE(OwlViTClassPredictionHead);

// Each patch starts with a box of its own place and size: [patches, 4], before the sigmoid.
inline Tensor box_bias(int64_t height, int64_t width) {
  const auto inverse = [](const Tensor& y) { return at::log(y + 1e-4) - at::log1p(-y + 1e-4); };
  const Tensor xs = at::arange(1, width + 1, at::kFloat) / static_cast<double>(width),
               ys = at::arange(1, height + 1, at::kFloat) / static_cast<double>(height);
  const Tensor places =
      at::stack({xs.unsqueeze(0).expand({height, width}), ys.unsqueeze(1).expand({height, width})}, -1);
  const Tensor size = at::tensor({1.0 / static_cast<double>(width), 1.0 / static_cast<double>(height)}, at::kFloat);
  return at::cat({inverse(places.clamp(0, 1)).view({-1, 2}), inverse(size).expand({height * width, 2})}, -1);
}

// Every patch is a candidate: a box, and a likeness to each text query.
template <class Base>
struct OwlViTForObjectDetectionOf : PreTrainedModel {
  using Config = typename Base::Config;
  const Config& c;
  std::shared_ptr<Base> base;
  OwlViTClassPredictionHead class_head;
  OwlViTBoxPredictionHead box_head;
  nn::LayerNorm layer_norm;

  OwlViTForObjectDetectionOf(const Config& config, const std::string& base_name)
      : PreTrainedModel(config),
        c(config),
        base(register_module(base_name, std::make_shared<Base>(config))),
        class_head(register_module("class_head",
                                   OwlViTClassPredictionHead(c.vision_config.hidden_size, c.text_config.hidden_size))),
        box_head(register_module("box_head", OwlViTBoxPredictionHead(c.vision_config.hidden_size, 4))),
        layer_norm(register_module("layer_norm",
                                   nn::LayerNorm(c.vision_config.hidden_size, c.vision_config.layer_norm_eps))) {}

  nn::Embedding get_input_embeddings() override { return base->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return kArguments; }

  // What a model makes of the patches [batch, patches, width] beside boxes and classes.
  virtual void more(const Tensor& /*patches*/, ModelOutput& /*output*/) {}

  // input_ids [batch * queries, seq]; a query that begins with id 0 is padding.
  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = clip::required(inputs, "pixel_values"), ids = clip::required(inputs, "input_ids");
    const auto towers = base->forward(for_part(inputs, kArguments, c));
    const bool interpolate = inputs.flag("interpolate_pos_encoding", false);
    const int64_t patch = c.vision_config.patch_size,
                  height = (interpolate ? pixels.size(2) : c.vision_config.image_size) / patch,
                  width = (interpolate ? pixels.size(3) : c.vision_config.image_size) / patch;
    Tensor x = base->vision_model->post_layernorm(towers["vision_model_output.last_hidden_state"]);
    x = layer_norm(x.slice(1, 1) * x.slice(1, 0, 1));
    const int64_t batch = x.size(0);
    if (ids.size(0) % batch != 0) {
      throw Error(ErrorCode::invalid_value, concat("input_ids has ", ids.size(0),
                                                   " rows; expected as many queries for each of ", batch, " images"));
    }
    const Tensor queries = towers["text_embeds"].view({batch, ids.size(0) / batch, -1});
    const Tensor mask = ids.view({batch, ids.size(0) / batch, -1}).select(-1, 0) > 0;
    const auto [logits, class_embeds] = class_head(x, queries, mask);
    ModelOutput output;
    output.set("logits", logits);
    more(x, output);
    output.set("pred_boxes", at::sigmoid(box_head(x) + box_bias(height, width)));
    output.set("text_embeds", queries);
    output.set("image_embeds", x.reshape({batch, height, width, -1}));
    output.set("class_embeds", class_embeds);
    for (const auto& [name, value] : towers) {
      if (name.starts_with("text_model_output.") || name.starts_with("vision_model_output.")) output.set(name, value);
    }
    return output;
  }
};

}  // namespace backplane::owlvit
