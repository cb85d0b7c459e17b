// Idefics2: Laurençon et al. 2024, https://arxiv.org/abs/2405.02246
// SigLIP's tower with positions by fraction, a perceiver that sums an image up in a few latents, any language model.
// Reference: transformers, models/idefics2/modeling_idefics2.py

#include <backplane/nn/mlp.h>

#include "../idefics3/modeling_idefics3.h"
#include "configuration_idefics2.h"

namespace backplane::idefics2 {

struct Idefics2VisionTransformer : idefics3::Idefics3VisionTransformerOf<Idefics2VisionConfig> {
  using Idefics3VisionTransformerOf::Idefics3VisionTransformerOf;
};

struct Idefics2MLPImpl : nn::Module {
  nn::Linear gate_proj, up_proj, down_proj;
  Activation act;

  Idefics2MLPImpl(int64_t in, int64_t inner, int64_t out, const std::string& act)
      : gate_proj(register_module("gate_proj", nn::Linear(in, inner, false))),
        up_proj(register_module("up_proj", nn::Linear(in, inner, false))),
        down_proj(register_module("down_proj", nn::Linear(inner, out, false))),
        act(activation(act)) {}

  Tensor forward(const Tensor& x) { return down_proj(act(gate_proj(x)) * up_proj(x)); }
};
TORCH_MODULE(Idefics2MLP);

// Latents attend to the context and to themselves.
struct Idefics2PerceiverAttentionImpl : nn::Module {
  int64_t heads, kv_heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear q_proj, k_proj, v_proj, o_proj;

  explicit Idefics2PerceiverAttentionImpl(const Idefics2PerceiverConfig& c)
      : heads(c.resampler_n_heads),
        kv_heads(c.num_key_value_heads),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, heads * c.resampler_head_dim, false))),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, kv_heads * c.resampler_head_dim, false))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, kv_heads * c.resampler_head_dim, false))),
        o_proj(register_module("o_proj", nn::Linear(heads * c.resampler_head_dim, c.hidden_size, false))) {}

  // latents [images, n, hidden], context [images, patches, hidden] -> [images, n, hidden]
  Tensor forward(const Tensor& latents, const Tensor& context, const Tensor& mask) {
    const Tensor seen = at::cat({context, latents}, 1);
    return o_proj(merge_heads(attention(
        split_heads(q_proj(latents), heads), split_heads(k_proj(seen), kv_heads), split_heads(v_proj(seen), kv_heads),
        {.mask = mask, .dropout = is_training() ? dropout : 0, .implementation = implementation})));
  }
};
TORCH_MODULE(Idefics2PerceiverAttention);

struct Idefics2PerceiverLayerImpl : nn::Module {
  nn::RMSNorm input_latents_norm, input_context_norm, post_attention_layernorm;
  Idefics2PerceiverAttention self_attn;
  Idefics2MLP mlp;

  explicit Idefics2PerceiverLayerImpl(const Idefics2PerceiverConfig& c)
      : input_latents_norm(register_module("input_latents_norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        input_context_norm(register_module("input_context_norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        post_attention_layernorm(
            register_module("post_attention_layernorm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))),
        self_attn(register_module("self_attn", Idefics2PerceiverAttention(c))),
        mlp(register_module("mlp", Idefics2MLP(c.hidden_size, 4 * c.hidden_size, c.hidden_size, c.hidden_act))) {}

  Tensor forward(Tensor latents, const Tensor& context, const Tensor& mask) {
    latents = latents + self_attn(input_latents_norm(latents), input_context_norm(context), mask);
    return latents + mlp(post_attention_layernorm(latents));
  }
};
TORCH_MODULE(Idefics2PerceiverLayer);

struct Idefics2PerceiverResamplerImpl : nn::Module {
  Tensor latents;
  nn::Layers<Idefics2PerceiverLayer> layers;
  nn::RMSNorm norm;

  explicit Idefics2PerceiverResamplerImpl(const Idefics2PerceiverConfig& c)
      : latents(register_parameter("latents", nn::uninitialised({c.resampler_n_latents, c.hidden_size}))),
        layers(register_module("layers", nn::Layers<Idefics2PerceiverLayer>(
                                             c.resampler_depth, [&](int64_t) { return Idefics2PerceiverLayer(c); }))),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size, c.rms_norm_eps))) {}

  // context [images, patches, hidden], patch_mask [images, patches] -> [images, latents, hidden]
  Tensor forward(const Tensor& context, const Tensor& patch_mask) {
    Tensor x = latents.unsqueeze(0).expand({context.size(0), -1, -1});
    const Tensor seen = at::cat({patch_mask.to(at::kLong), at::ones({x.size(0), x.size(1)}, at::kLong)}, 1);
    const Tensor mask = padding_mask(seen, context.scalar_type());
    for (auto& layer : *layers) x = layer(x, context, mask);
    return norm(x);
  }
};
TORCH_MODULE(Idefics2PerceiverResampler);

struct Idefics2ConnectorImpl : nn::Module {
  Idefics2MLP modality_projection;
  Idefics2PerceiverResampler perceiver_resampler;

  explicit Idefics2ConnectorImpl(const Idefics2Config& c)
      : modality_projection(
            register_module("modality_projection",
                            Idefics2MLP(c.vision_config.hidden_size, int_field(*c.text_config, "intermediate_size"),
                                        int_field(*c.text_config, "hidden_size"),
                                        field_value(*c.text_config, "hidden_act").as_string()))),
        perceiver_resampler(register_module("perceiver_resampler", Idefics2PerceiverResampler(c.perceiver_config))) {}

  Tensor forward(const Tensor& x, const Tensor& patch_mask) {
    return perceiver_resampler(modality_projection(x), patch_mask);
  }
};
TORCH_MODULE(Idefics2Connector);

struct Idefics2Model : PreTrainedModel {
  using Config = Idefics2Config;
  static constexpr std::array<std::string_view, 3> kPromptOnly = {"pixel_values", "pixel_attention_mask",
                                                                  "image_hidden_states"};

  const Idefics2Config& c;
  std::shared_ptr<Idefics2VisionTransformer> vision_model;
  Idefics2Connector connector;
  std::shared_ptr<PreTrainedModel> text_model;

  explicit Idefics2Model(const Idefics2Config& config)
      : PreTrainedModel(config),
        c(config),
        vision_model(register_module("vision_model", std::make_shared<Idefics2VisionTransformer>(c.vision_config))),
        connector(register_module("connector", Idefics2Connector(c))),
        text_model(register_module("text_model", make_model(Auto::Model, *c.text_config))) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
  nn::Embedding get_input_embeddings() override { return text_model->get_input_embeddings(); }
  std::span<const std::string_view> arguments() const override { return idefics3::kArguments; }

  // pixel_values [batch, images, channels, height, width], pixel_attention_mask [batch, images, height, width] ->
  // [latents of all images that are no padding, hidden]
  Tensor image_features(const Tensor& pixel_values, const Tensor& pixel_attention_mask) {
    if (pixel_values.dim() != 5) {
      throw Error(ErrorCode::invalid_value, concat("pixel_values has the shape ", pixel_values.sizes(),
                                                   "; expected [batch, images, channels, height, width]"));
    }
    const int64_t patch = c.vision_config.patch_size;
    Tensor pixels = pixel_values.flatten(0, 1);
    const Tensor kept = (pixels != 0).flatten(1).any(1).nonzero().squeeze(1);
    pixels = pixels.index_select(0, kept);
    Tensor mask = at::ones({pixels.size(0), pixels.size(2) / patch, pixels.size(3) / patch}, at::kBool);
    if (pixel_attention_mask.defined()) {
      mask = pixel_attention_mask.flatten(0, 1).index_select(0, kept);
      mask = mask.unfold(1, patch, patch).unfold(2, patch, patch).sum({-1, -2}) == patch * patch;
    }
    const auto vision = vision_model->forward({{"pixel_values", pixels}, {"patch_attention_mask", mask}});
    return connector(vision["last_hidden_state"], mask.flatten(1)).flatten(0, 1);
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

struct Idefics2ForConditionalGeneration : ConditionalGeneration<Idefics2Model> {
  explicit Idefics2ForConditionalGeneration(const Idefics2Config& c) : ConditionalGeneration(c, *c.text_config) {}
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

BACKPLANE_PLUGIN(idefics2, plugin) {
  plugin.config<Idefics2Config>();
  plugin.tokenizer("LlamaTokenizer", "LlamaTokenizerFast");
  plugin.preprocessor(Auto::ImageProcessor, "Idefics2ImageProcessor", "Idefics2ImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "Idefics2Processor");
  plugin.model<Idefics2Model>(Auto::Model);
  plugin.model<Idefics2ForConditionalGeneration>(Auto::ForPreTraining);
  plugin.model<Idefics2ForConditionalGeneration>(Auto::ForVision2Seq);
  plugin.model<Idefics2ForConditionalGeneration>(Auto::ForImageTextToText);
}

}  // namespace backplane::idefics2
