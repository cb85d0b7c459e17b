#pragma once

// The transformer of CLIP, its two embeddings and its two towers. Constructors take any configuration that has CLIP's
// keys, so that the models after CLIP can use what they kept.

#include <backplane/model/composite.h>
#include <backplane/nn/multimodal.h>
#include <backplane/nn/uninitialised.h>
#include <backplane/nn/vision.h>

#include "configuration_clip.h"

namespace backplane::clip {

// What every layer of one call shares, and what the caller wants to see of them.
struct Pass {
  Tensor mask;          // additive, broadcast to [batch, heads, q, kv], or undefined
  bool causal = false;  // on top of the mask
  bool keep_hidden_states = false, keep_attentions = false;
  std::vector<Tensor> hidden_states = {}, attentions = {};

  Pass() = default;
  Pass(const ModelInputs& inputs, const PretrainedConfig& config)
      : keep_hidden_states(inputs.flag("output_hidden_states", config.output_hidden_states)),
        keep_attentions(inputs.flag("output_attentions", config.output_attentions)) {}

  // hidden_states and attentions, where they were asked for.
  void give(ModelOutput& output) const {
    output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
  }
};

struct CLIPAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  template <class Config>
  explicit CLIPAttentionImpl(const Config& c)
      : heads(checked_heads(c.hidden_size, c.num_attention_heads)),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size))) {}

  static int64_t checked_heads(int64_t hidden_size, int64_t heads) {
    if (heads <= 0 || hidden_size % heads != 0) {
      throw Error(ErrorCode::bad_config, concat("config.json: hidden_size (", hidden_size,
                                                ") is not divisible by num_attention_heads (", heads, ")"));
    }
    return heads;
  }

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, Pass& pass) {
    Tensor probs;
    const Tensor y =
        attention(split_heads(q_proj(x), heads), split_heads(k_proj(x), heads), split_heads(v_proj(x), heads),
                  {.mask = pass.mask,
                   .causal = pass.causal,
                   .dropout = is_training() ? dropout : 0,
                   .implementation = implementation,
                   .probs = pass.keep_attentions ? &probs : nullptr});
    if (pass.keep_attentions) pass.attentions.push_back(probs);
    return out_proj(merge_heads(y));
  }
};
TORCH_MODULE(CLIPAttention);

struct CLIPMLPImpl : nn::Module {
  nn::Linear fc1, fc2;
  Activation act;

  template <class Config>
  explicit CLIPMLPImpl(const Config& c)
      : fc1(register_module("fc1", nn::Linear(c.hidden_size, c.intermediate_size))),
        fc2(register_module("fc2", nn::Linear(c.intermediate_size, c.hidden_size))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return fc2(act(fc1(x))); }
};
TORCH_MODULE(CLIPMLP);

struct CLIPEncoderLayerImpl : nn::Module {
  CLIPAttention self_attn;
  nn::LayerNorm layer_norm1, layer_norm2;
  CLIPMLP mlp;

  template <class Config>
  explicit CLIPEncoderLayerImpl(const Config& c)
      : self_attn(register_module("self_attn", CLIPAttention(c))),
        layer_norm1(register_module("layer_norm1", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        layer_norm2(register_module("layer_norm2", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        mlp(register_module("mlp", CLIPMLP(c))) {}

  Tensor forward(Tensor x, Pass& pass) {
    x = x + self_attn(layer_norm1(x), pass);
    return x + mlp(layer_norm2(x));
  }
};
TORCH_MODULE(CLIPEncoderLayer);

// Layers one after the other; `Layer` is made from the configuration.
template <class Layer>
struct EncoderImpl : nn::Module {
  nn::Layers<Layer> layers;

  template <class Config>
  explicit EncoderImpl(const Config& c)
      : layers(register_module("layers", nn::Layers<Layer>(c.num_hidden_layers, [&](int64_t) { return Layer(c); }))) {}

  Tensor forward(Tensor x, Pass& pass) {
    for (auto& layer : *layers) {
      if (pass.keep_hidden_states) pass.hidden_states.push_back(x);
      x = layer(x, pass);
    }
    if (pass.keep_hidden_states) pass.hidden_states.push_back(x);
    return x;
  }
};
template <class Layer>
struct Encoder : nn::ModuleHolder<EncoderImpl<Layer>> {
  using nn::ModuleHolder<EncoderImpl<Layer>>::ModuleHolder;
};
using CLIPEncoder = Encoder<CLIPEncoderLayer>;

struct CLIPTextEmbeddingsImpl : nn::Module {
  nn::Embedding token_embedding, position_embedding;

  template <class Config>
  explicit CLIPTextEmbeddingsImpl(const Config& c)
      : token_embedding(register_module("token_embedding", nn::Embedding(c.vocab_size, c.hidden_size))),
        position_embedding(
            register_module("position_embedding", nn::Embedding(c.max_position_embeddings, c.hidden_size))) {}

  // input_ids [batch, seq], position_ids [batch or 1, seq] or undefined -> [batch, seq, hidden]
  Tensor forward(const Tensor& input_ids, const Tensor& position_ids) {
    const int64_t seq = input_ids.size(1), most = position_embedding->weight.size(0);
    if (seq > most) {
      throw Error(
          ErrorCode::invalid_value,
          concat("a sequence of ", seq, " tokens is longer than max_position_embeddings (", most, "); truncate it"));
    }
    return token_embedding(input_ids) +
           (position_ids.defined() ? position_embedding(position_ids) : position_embedding->weight.slice(0, 0, seq));
  }
};
TORCH_MODULE(CLIPTextEmbeddings);

struct CLIPVisionEmbeddingsImpl : nn::Module {
  int64_t image_size, patch_size;
  Tensor class_embedding;
  nn::Conv2d patch_embedding;
  nn::Embedding position_embedding;

  template <class Config>
  explicit CLIPVisionEmbeddingsImpl(const Config& c)
      : image_size(c.image_size),
        patch_size(checked_patch(c.patch_size, c.image_size)),
        class_embedding(register_parameter("class_embedding", nn::uninitialised({c.hidden_size}))),
        patch_embedding(
            register_module("patch_embedding",
                            nn::Conv2d(c.num_channels, c.hidden_size, patch_size,
                                       nn::ConvOptions<2>{.stride = nn::extent<2>(patch_size), .with_bias = false}))),
        position_embedding(
            register_module("position_embedding",
                            nn::Embedding((image_size / patch_size) * (image_size / patch_size) + 1, c.hidden_size))) {}

  static int64_t checked_patch(int64_t patch_size, int64_t image_size) {
    constexpr int64_t kMostPatches = 1 << 15;  // a side
    if (patch_size <= 0 || image_size < patch_size || image_size / patch_size > kMostPatches) {
      throw Error(ErrorCode::bad_config,
                  concat("config.json: patch_size is ", patch_size, " and image_size ", image_size,
                         "; expected a patch of at least one pixel that fits the image"));
    }
    return patch_size;
  }

  // pixel_values [batch, channels, height, width] -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, bool interpolate) {
    const int64_t height = pixel_values.size(2), width = pixel_values.size(3);
    if (!interpolate && (height != image_size || width != image_size)) {
      throw Error(ErrorCode::invalid_value, concat("the images are ", height, " x ", width, " pixels; the model takes ",
                                                   image_size, " x ", image_size, ", or set interpolate_pos_encoding"));
    }
    const Tensor patches =
        patch_embedding(pixel_values.to(patch_embedding->weight.scalar_type())).flatten(2).transpose(1, 2);
    const Tensor x = at::cat({class_embedding.expand({patches.size(0), 1, -1}), patches}, 1);
    const bool fits = height == image_size && width == image_size;
    return x + (fits ? position_embedding->weight
                     : resize_positions(position_embedding->weight.unsqueeze(0), 1,
                                        {height / patch_size, width / patch_size}));
  }
};
TORCH_MODULE(CLIPVisionEmbeddings);

inline Tensor required(const ModelInputs& inputs, std::string_view name) {
  const Tensor value = inputs.tensor(name);
  if (!value.defined()) throw Error(ErrorCode::invalid_value, concat("forward needs ", name));
  return value;
}

inline constexpr std::array<std::string_view, 5> kTextArguments = {"input_ids", "attention_mask", "position_ids",
                                                                   "output_attentions", "output_hidden_states"};
inline constexpr std::array<std::string_view, 4> kVisionArguments = {
    "pixel_values", "output_attentions", "output_hidden_states", "interpolate_pos_encoding"};

// A causal transformer over tokens; the state of the end token stands for the text.
struct CLIPTextTransformerImpl : nn::Module {
  const PretrainedConfig& flags;  // what a call does not say
  int64_t eos;
  CLIPTextEmbeddings embeddings;
  CLIPEncoder encoder;
  nn::LayerNorm final_layer_norm;

  template <class Config>
  explicit CLIPTextTransformerImpl(const Config& c)
      : CLIPTextTransformerImpl(c, c.eos_token_id.is_int() ? c.eos_token_id.as_int() : -1) {}

  template <class Config>
  CLIPTextTransformerImpl(const Config& c, int64_t eos)
      : flags(c),
        eos(eos),
        embeddings(register_module("embeddings", CLIPTextEmbeddings(c))),
        encoder(register_module("encoder", CLIPEncoder(c))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  ModelOutput forward(const ModelInputs& inputs) {
    const Tensor ids = required(inputs, "input_ids").view({-1, inputs["input_ids"].size(-1)});
    Tensor x = embeddings(ids, inputs.tensor("position_ids"));
    Pass pass(inputs, flags);
    pass.causal = true;
    pass.mask = padding_mask(inputs.tensor("attention_mask"), x.scalar_type());
    x = final_layer_norm(encoder(x, pass));
    // Files from before the end token's id was right have 2 there; the end token is the largest id of all.
    const Tensor end = eos == 2 ? ids.argmax(-1) : (ids == eos).to(at::kInt).argmax(-1);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.index({at::arange(x.size(0)), end}));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(CLIPTextTransformer);

// The normalised state of the class token stands for the image.
struct CLIPVisionTransformerImpl : nn::Module {
  const PretrainedConfig& flags;
  CLIPVisionEmbeddings embeddings;
  nn::LayerNorm pre_layrnorm;
  CLIPEncoder encoder;
  nn::LayerNorm post_layernorm;

  template <class Config>
  explicit CLIPVisionTransformerImpl(const Config& c)
      : flags(c),
        embeddings(register_module("embeddings", CLIPVisionEmbeddings(c))),
        pre_layrnorm(register_module("pre_layrnorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        encoder(register_module("encoder", CLIPEncoder(c))),
        post_layernorm(register_module("post_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  ModelOutput forward(const ModelInputs& inputs) {
    Pass pass(inputs, flags);
    Tensor x = embeddings(required(inputs, "pixel_values"), inputs.flag("interpolate_pos_encoding", false));
    x = encoder(pre_layrnorm(x), pass);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", post_layernorm(x.select(1, 0)));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(CLIPVisionTransformer);

// Cosine similarities of two kinds of embeddings [n, dim] and [m, dim], scaled.
inline ModelOutput compare(const ModelInputs& inputs, Tensor text_embeds, Tensor image_embeds,
                           const Tensor& logit_scale) {
  text_embeds = unit_length(text_embeds);
  image_embeds = unit_length(image_embeds);
  const Tensor per_text = at::matmul(text_embeds, image_embeds.t()) * logit_scale.exp();
  ModelOutput output;
  if (inputs.flag("return_loss", false)) output.set("loss", contrastive_loss(per_text));
  output.set("logits_per_image", per_text.t());
  output.set("logits_per_text", per_text);
  output.set("text_embeds", text_embeds);
  output.set("image_embeds", image_embeds);
  return output;
}

// Two towers whose pooled states, projected, are compared. `Text` and `Vision` are made from their configurations, and
// called with the arguments of the model.
template <class C, class Text, class Vision>
struct CLIPModelOf : PreTrainedModel {
  using Config = C;
  Text text_model;
  Vision vision_model;
  nn::Linear visual_projection, text_projection;
  Tensor logit_scale;

  explicit CLIPModelOf(const C& c)
      : PreTrainedModel(c),
        text_model(register_module("text_model", Text(c.text_config))),
        vision_model(register_module("vision_model", Vision(c.vision_config))),
        visual_projection(
            register_module("visual_projection", nn::Linear(c.vision_config.hidden_size, c.projection_dim, false))),
        text_projection(
            register_module("text_projection", nn::Linear(c.text_config.hidden_size, c.projection_dim, false))),
        logit_scale(register_parameter("logit_scale", nn::uninitialised({}))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(kTextArguments, "pixel_values", "interpolate_pos_encoding", "return_loss");
    return kNames;
  }

  // The state that stands for the text, [batch, hidden].
  virtual Tensor pooled(const ModelOutput& text) const { return text["pooler_output"]; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, arguments(), config()));
    const auto text = text_model(for_part(inputs, arguments(), config()));
    ModelOutput output =
        compare(inputs, text_projection(pooled(text)), visual_projection(vision["pooler_output"]), logit_scale);
    set_part(output, "text_model_output", text);
    set_part(output, "vision_model_output", vision);
    return output;
  }
};

}  // namespace backplane::clip
