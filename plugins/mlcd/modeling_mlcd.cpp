// MLCD: An et al. 2024, https://arxiv.org/abs/2407.17331
// CLIP's vision tower except: rotary positions of rows and columns, and learned angles for the class token.
// Reference: transformers, models/mlcd/modeling_mlcd.py

#include "../clip/modeling_clip.h"
#include "configuration_mlcd.h"

namespace backplane::mlcd {

struct Pass : clip::Pass {
  using clip::Pass::Pass;
  Tensor cos, sin;  // [1, 1 + patches, head_dim / 2]
};

struct MLCDAttentionImpl : clip::CLIPAttentionImpl {
  using CLIPAttentionImpl::CLIPAttentionImpl;

  // x [batch, seq, hidden] -> [batch, seq, hidden]
  Tensor forward(const Tensor& x, Pass& pass) {
    Tensor probs;
    const Tensor q = nn::apply_rotary(split_heads(q_proj(x), heads), pass.cos, pass.sin),
                 k = nn::apply_rotary(split_heads(k_proj(x), heads), pass.cos, pass.sin);
    const Tensor y = attention(q, k, split_heads(v_proj(x), heads),
                               {.dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = pass.keep_attentions ? &probs : nullptr});
    if (pass.keep_attentions) pass.attentions.push_back(probs);
    return out_proj(merge_heads(y));
  }
};
TORCH_MODULE(MLCDAttention);

struct MLCDEncoderLayerImpl : nn::Module {
  MLCDAttention self_attn;
  nn::LayerNorm layer_norm1, layer_norm2;
  clip::CLIPMLP mlp;

  explicit MLCDEncoderLayerImpl(const MLCDVisionConfig& c)
      : self_attn(register_module("self_attn", MLCDAttention(c))),
        layer_norm1(register_module("layer_norm1", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        layer_norm2(register_module("layer_norm2", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        mlp(register_module("mlp", clip::CLIPMLP(c))) {}

  Tensor forward(Tensor x, Pass& pass) {
    x = x + self_attn(layer_norm1(x), pass);
    return x + mlp(layer_norm2(x));
  }
};
TORCH_MODULE(MLCDEncoderLayer);

struct MLCDEncoderImpl : nn::Module {
  nn::Layers<MLCDEncoderLayer> layers;

  explicit MLCDEncoderImpl(const MLCDVisionConfig& c)
      : layers(register_module("layers", nn::Layers<MLCDEncoderLayer>(c.num_hidden_layers,
                                                                      [&](int64_t) { return MLCDEncoderLayer(c); }))) {}

  Tensor forward(Tensor x, Pass& pass) {
    for (auto& layer : *layers) {
      if (pass.keep_hidden_states) pass.hidden_states.push_back(x);
      x = layer(x, pass);
    }
    if (pass.keep_hidden_states) pass.hidden_states.push_back(x);
    return x;
  }
};
TORCH_MODULE(MLCDEncoder);

struct MLCDVisionEmbeddingsImpl : nn::Module {
  Tensor class_embedding;
  nn::Conv2d patch_embedding;

  explicit MLCDVisionEmbeddingsImpl(const MLCDVisionConfig& c)
      : class_embedding(register_parameter("class_embedding", nn::uninitialised({c.hidden_size}))),
        patch_embedding(register_module(
            "patch_embedding",
            nn::Conv2d(c.num_channels, c.hidden_size, c.patch_size,
                       nn::ConvOptions<2>{.stride = nn::extent<2>(c.patch_size), .with_bias = false}))) {}

  // pixel_values [batch, channels, height, width] -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values) {
    const Tensor patches =
        patch_embedding(pixel_values.to(patch_embedding->weight.scalar_type())).flatten(2).transpose(1, 2);
    return at::cat({class_embedding.expand({patches.size(0), 1, -1}), patches}, 1);
  }
};
TORCH_MODULE(MLCDVisionEmbeddings);

struct MLCDVisionTransformerImpl : nn::Module {
  const MLCDVisionConfig& c;
  Tensor class_pos_emb;
  MLCDVisionEmbeddings embeddings;
  nn::LayerNorm pre_layrnorm;
  MLCDEncoder encoder;
  nn::LayerNorm post_layernorm;

  explicit MLCDVisionTransformerImpl(const MLCDVisionConfig& config)
      : c(config),
        class_pos_emb(
            register_parameter("class_pos_emb", nn::uninitialised({1, c.hidden_size / c.num_attention_heads / 2}))),
        embeddings(register_module("embeddings", MLCDVisionEmbeddings(c))),
        pre_layrnorm(register_module("pre_layrnorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        encoder(register_module("encoder", MLCDEncoder(c))),
        post_layernorm(register_module("post_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  // Angles of the class token and of all patches, [1 + patches, head_dim / 2].
  Tensor angles(int64_t height, int64_t width) const {
    const int64_t dim = c.hidden_size / c.num_attention_heads / 2;
    const Tensor freqs = 1.0 / at::pow(10000.0, at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim));
    const Tensor rows = at::arange(height).view({-1, 1, 1}) * freqs,
                 columns = at::arange(width).view({1, -1, 1}) * freqs;
    const Tensor grid = at::cat({rows.expand({height, width, -1}), columns.expand({height, width, -1})}, -1);
    return at::cat({class_pos_emb.to(at::kFloat), grid.flatten(0, 1)});
  }

  ModelOutput forward(const ModelInputs& inputs) {
    const Tensor pixels = clip::required(inputs, "pixel_values");
    Pass pass(inputs, c);
    const Tensor turned = angles(pixels.size(2) / c.patch_size, pixels.size(3) / c.patch_size).unsqueeze(0);
    pass.cos = turned.cos();
    pass.sin = turned.sin();
    const Tensor x = encoder(pre_layrnorm(embeddings(pixels)), pass);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", post_layernorm(x.select(1, 0)));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(MLCDVisionTransformer);

struct MLCDVisionModel : PreTrainedModel {
  using Config = MLCDVisionConfig;
  MLCDVisionTransformer vision_model;

  explicit MLCDVisionModel(const MLCDVisionConfig& c)
      : PreTrainedModel(c), vision_model(register_module("vision_model", MLCDVisionTransformer(c))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "mlcd"}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kNames = {"pixel_values", "output_attentions",
                                                               "output_hidden_states"};
    return kNames;
  }
  ModelOutput compute(const ModelInputs& inputs) override { return vision_model(inputs); }
};

BACKPLANE_PLUGIN(mlcd, plugin) {
  plugin.config<MLCDVisionConfig>("mlcd");
  plugin.preprocessor(Auto::ImageProcessor, "CLIPImageProcessor", "CLIPImageProcessorFast");
  plugin.model<MLCDVisionModel>(Auto::Model);
}

}  // namespace backplane::mlcd
