// SigLIP: Zhai et al. 2023, https://arxiv.org/abs/2303.15343
// CLIP except: no class token, patches pooled by attention, a text tower without causal mask whose last token counts,
// no projections, and a sigmoid loss with a bias. Reference: transformers, models/siglip/modeling_siglip.py

#include "modeling_siglip.h"

namespace backplane::siglip {

struct SiglipVisionTransformerImpl : nn::Module {
  const PretrainedConfig& flags;
  SiglipVisionEmbeddings embeddings;
  clip::CLIPEncoder encoder;
  nn::LayerNorm post_layernorm;
  SiglipMultiheadAttentionPoolingHead head{nullptr};

  explicit SiglipVisionTransformerImpl(const SiglipVisionConfig& c)
      : flags(c),
        embeddings(register_module("embeddings", SiglipVisionEmbeddings(c))),
        encoder(register_module("encoder", clip::CLIPEncoder(c))),
        post_layernorm(register_module("post_layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (c.use_head()) head = register_module("head", SiglipMultiheadAttentionPoolingHead(c));
  }

  ModelOutput forward(const ModelInputs& inputs) {
    Pass pass(inputs, flags);
    Tensor x = embeddings(clip::required(inputs, "pixel_values"), inputs.flag("interpolate_pos_encoding", false));
    x = post_layernorm(encoder(x, pass));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (head) output.set("pooler_output", head(x));
    pass.give(output);
    return output;
  }
};
TORCH_MODULE(SiglipVisionTransformer);

template <class C>
struct SiglipPreTrainedModel : PreTrainedModel {
  using Config = C;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "siglip"}; }
};

struct SiglipVisionModel : SiglipPreTrainedModel<SiglipVisionConfig> {
  SiglipVisionTransformer vision_model;

  explicit SiglipVisionModel(const SiglipVisionConfig& c)
      : SiglipPreTrainedModel(c), vision_model(register_module("vision_model", SiglipVisionTransformer(c))) {}

  std::span<const std::string_view> arguments() const override { return clip::kVisionArguments; }
  ModelOutput compute(const ModelInputs& inputs) override { return vision_model(inputs); }
};

struct SiglipModel : SiglipPreTrainedModel<SiglipConfig> {
  SiglipTextTransformer text_model;
  SiglipVisionTransformer vision_model;
  Tensor logit_scale, logit_bias;

  explicit SiglipModel(const SiglipConfig& c)
      : SiglipPreTrainedModel(c),
        text_model(register_module("text_model", SiglipTextTransformer(c.text_config))),
        vision_model(register_module("vision_model", SiglipVisionTransformer(c.vision_config))),
        logit_scale(register_parameter("logit_scale", nn::uninitialised({1}))),
        logit_bias(register_parameter("logit_bias", nn::uninitialised({1}))) {}

  nn::Embedding get_input_embeddings() override { return text_model->embeddings->token_embedding; }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames =
        extend(clip::kTextArguments, "pixel_values", "interpolate_pos_encoding", "return_loss");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, clip::kVisionArguments, config()));
    const auto text = text_model(for_part(inputs, clip::kTextArguments, config()));
    ModelOutput output = compare(inputs, text["pooler_output"], vision["pooler_output"], logit_scale, logit_bias);
    set_part(output, "text_model_output", text);
    set_part(output, "vision_model_output", vision);
    return output;
  }
};

// A linear map of the mean of all patches.
struct SiglipForImageClassification : SiglipPreTrainedModel<SiglipConfig> {
  SiglipVisionTransformer vision_model;
  nn::Linear classifier{nullptr};

  explicit SiglipForImageClassification(const SiglipConfig& c)
      : SiglipPreTrainedModel(c),
        vision_model(register_module("vision_model", SiglipVisionTransformer(c.vision_config))) {
    if (c.num_labels() > 0) {
      classifier = register_module("classifier", nn::Linear(c.vision_config.hidden_size, c.num_labels()));
    }
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kNames = extend(clip::kVisionArguments, "labels");
    return kNames;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto vision = vision_model(for_part(inputs, clip::kVisionArguments, config()));
    Tensor logits = vision["last_hidden_state"].mean(1);
    if (classifier) logits = classifier(logits);
    ModelOutput output;
    if (const Tensor labels = inputs.tensor("labels"); labels.defined()) {
      output.set("loss", classification_loss(logits, labels, config()));
    }
    output.set("logits", logits);
    output.pass_on(vision);
    return output;
  }
};

BACKPLANE_PLUGIN(siglip, plugin) {
  plugin.config<SiglipVisionConfig>();
  plugin.model<SiglipVisionModel>(Auto::Model);
  plugin.config<SiglipConfig>();
  plugin.tokenizer("SiglipTokenizer", "");
  plugin.preprocessor(Auto::ImageProcessor, "SiglipImageProcessor", "SiglipImageProcessorFast");
  plugin.preprocessor(Auto::Processor, "SiglipProcessor");
  plugin.model<SiglipModel>(Auto::Model);
  plugin.model<SiglipForImageClassification>(Auto::ForImageClassification);
  plugin.model<SiglipModel>(Auto::ForZeroShotImageClassification);
}

}  // namespace backplane::siglip
