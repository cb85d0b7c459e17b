#pragma once

#include "../clip/modeling_clip.h"
#include "configuration_siglip.h"

namespace backplane::siglip {

using clip::Pass;

// Like CLIP's, without a class token.
struct SiglipVisionEmbeddingsImpl : nn::Module {
  int64_t patch_size;
  nn::Conv2d patch_embedding;
  nn::Embedding position_embedding;

  explicit SiglipVisionEmbeddingsImpl(const SiglipVisionConfig& c)
      : patch_size(clip::CLIPVisionEmbeddingsImpl::checked_patch(c.patch_size, c.image_size)),
        patch_embedding(
            register_module("patch_embedding", nn::Conv2d(c.num_channels, c.hidden_size, patch_size,
                                                          nn::ConvOptions<2>{.stride = nn::extent<2>(patch_size)}))),
        position_embedding(
            register_module("position_embedding",
                            nn::Embedding((c.image_size / patch_size) * (c.image_size / patch_size), c.hidden_size))) {}

  // pixel_values [batch, channels, height, width] -> [batch, patches, hidden]
  Tensor forward(const Tensor& pixel_values, bool interpolate) {
    const Tensor grid = patch_embedding(pixel_values.to(patch_embedding->weight.scalar_type()));
    const Tensor x = grid.flatten(2).transpose(1, 2);
    const int64_t patches = x.size(1), known = position_embedding->weight.size(0);
    const bool fits = patches == known && (!interpolate || pixel_values.size(2) == pixel_values.size(3));
    if (!fits && !interpolate) {
      throw Error(ErrorCode::invalid_value, concat("the images have ", patches, " patches; the model takes ", known,
                                                   ", or set interpolate_pos_encoding"));
    }
    return x + (fits ? position_embedding->weight
                     : resize_positions(position_embedding->weight.unsqueeze(0), 0, {grid.size(2), grid.size(3)}));
  }
};
TORCH_MODULE(SiglipVisionEmbeddings);

// Attention with queries, keys and values in one matrix, as libtorch's MultiheadAttention names it.
struct MultiheadAttentionImpl : nn::Module {
  int64_t heads;
  Tensor in_proj_weight, in_proj_bias;
  nn::Linear out_proj;

  MultiheadAttentionImpl(int64_t hidden, int64_t heads)
      : heads(heads),
        in_proj_weight(register_parameter("in_proj_weight", nn::uninitialised({3 * hidden, hidden}))),
        in_proj_bias(register_parameter("in_proj_bias", nn::uninitialised({3 * hidden}))),
        out_proj(register_module("out_proj", nn::Linear(hidden, hidden))) {}

  // query [batch, q, hidden], key and value [batch, seq, hidden] -> [batch, q, hidden]
  Tensor forward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask) {
    const auto weights = in_proj_weight.chunk(3), biases = in_proj_bias.chunk(3);
    const Tensor q = split_heads(at::linear(query, weights[0], biases[0]), heads),
                 k = split_heads(at::linear(key, weights[1], biases[1]), heads),
                 v = split_heads(at::linear(value, weights[2], biases[2]), heads);
    return out_proj(merge_heads(attention(q, k, v, {.mask = mask})));
  }
};
TORCH_MODULE(MultiheadAttention);

// A learned query sums up the patches.
struct SiglipMultiheadAttentionPoolingHeadImpl : nn::Module {
  Tensor probe;
  MultiheadAttention attention;
  nn::LayerNorm layernorm;
  clip::CLIPMLP mlp;

  template <class Config>
  explicit SiglipMultiheadAttentionPoolingHeadImpl(const Config& c)
      : probe(register_parameter("probe", nn::uninitialised({1, 1, c.hidden_size}))),
        attention(register_module("attention", MultiheadAttention(c.hidden_size, c.num_attention_heads))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        mlp(register_module("mlp", clip::CLIPMLP(c))) {}

  // x [batch, patches, hidden], mask additive [batch, 1, 1, patches] or undefined -> [batch, hidden]
  Tensor forward(const Tensor& x, const Tensor& mask = {}) {
    const Tensor y = attention(probe.expand({x.size(0), 1, -1}), x, x, mask);
    return (y + mlp(layernorm(y))).select(1, 0);
  }
};
TORCH_MODULE(SiglipMultiheadAttentionPoolingHead);

// Sees in both directions; the last token, mapped, stands for the text.
struct SiglipTextTransformerImpl : nn::Module {
  const PretrainedConfig& flags;
  clip::CLIPTextEmbeddings embeddings;
  clip::CLIPEncoder encoder;
  nn::LayerNorm final_layer_norm;
  nn::Linear head;

  explicit SiglipTextTransformerImpl(const SiglipTextConfig& c)
      : flags(c),
        embeddings(register_module("embeddings", clip::CLIPTextEmbeddings(c))),
        encoder(register_module("encoder", clip::CLIPEncoder(c))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        head(register_module("head", nn::Linear(c.hidden_size, *c.projection_size))) {}

  ModelOutput forward(const ModelInputs& inputs) {
    const Tensor ids = clip::required(inputs, "input_ids").view({-1, inputs["input_ids"].size(-1)});
    Tensor x = embeddings(ids, inputs.tensor("position_ids"));
    Pass pass(inputs, flags);
    pass.mask = padding_mask(inputs.tensor("attention_mask"), x.scalar_type());
    x = final_layer_norm(encoder(x, pass));
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", head(x.select(1, x.size(1) - 1)));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(SiglipTextTransformer);

// The sigmoid loss over all pairs of the batch: Zhai et al. 2023.
inline Tensor sigmoid_loss(const Tensor& logits) {
  const Tensor signs = 2 * at::eye(logits.size(0), logits.options()) - 1;
  return -at::log_sigmoid(signs * logits).sum(-1).mean();
}

// Cosine similarities, scaled and shifted.
inline ModelOutput compare(const ModelInputs& inputs, Tensor text_embeds, Tensor image_embeds,
                           const Tensor& logit_scale, const Tensor& logit_bias) {
  text_embeds = unit_length(text_embeds);
  image_embeds = unit_length(image_embeds);
  const Tensor per_text = at::matmul(text_embeds, image_embeds.t()) * logit_scale.exp() + logit_bias;
  ModelOutput output;
  if (inputs.flag("return_loss", false)) output.set("loss", sigmoid_loss(per_text));
  output.set("logits_per_image", per_text.t());
  output.set("logits_per_text", per_text);
  output.set("text_embeds", text_embeds);
  output.set("image_embeds", image_embeds);
  return output;
}

}  // namespace backplane::siglip
