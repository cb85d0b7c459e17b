// ViT: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
// Patches of an image, a class token and learned positions through a pre-norm encoder. Reference: transformers,
// models/vit/modeling_vit.py

#include "modeling_vit.h"

namespace backplane::vit {

struct ViTPreTrainedModel : PreTrainedModel {
  using Config = ViTConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vit"}; }
};

struct ViTModel : ViTPreTrainedModel {
  ViTEmbeddings embeddings;
  ViTEncoder encoder;
  nn::LayerNorm layernorm;
  ViTPooler pooler{nullptr};

  explicit ViTModel(const ViTConfig& c, bool add_pooling_layer = true, bool use_mask_token = false)
      : ViTPreTrainedModel(c),
        embeddings(register_module("embeddings", ViTEmbeddings(c, use_mask_token))),
        encoder(register_module("encoder", ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (add_pooling_layer)
      pooler = register_module("pooler", ViTPooler(c.hidden_size, *c.pooler_output_size, c.pooler_act));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor pixels = inputs.tensor("pixel_values");
    Tensor x = embeddings(pixels.defined() ? pixels.to(dtype()) : pixels, inputs.tensor("bool_masked_pos"),
                          inputs.flag("interpolate_pos_encoding", false));
    x = layernorm(encoder(x, inputs.tensor("head_mask"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    if (pooler) output.set("pooler_output", pooler(x));
    trace.write(output);
    return output;
  }
};

// Pixels of masked patches.
struct ViTForMaskedImageModeling : ViTPreTrainedModel {
  const ViTConfig& c;
  std::shared_ptr<ViTModel> vit;
  nn::Sequence decoder;

  explicit ViTForMaskedImageModeling(const ViTConfig& config)
      : ViTPreTrainedModel(config),
        c(config),
        vit(register_module("vit", std::make_shared<ViTModel>(c, false, true))),
        decoder(register_module(
            "decoder", nn::Sequence(nn::Conv2d(c.hidden_size, c.encoder_stride * c.encoder_stride * c.num_channels, 1),
                                    pixel_shuffle(c.encoder_stride)))) {}

  std::span<const std::string_view> arguments() const override { return vit->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor mask = inputs.tensor("bool_masked_pos");
    if (mask.defined() && c.patch_size != Value(c.encoder_stride)) {
      throw Error(ErrorCode::invalid_value, concat("bool_masked_pos needs patch_size (", c.patch_size.to_string(),
                                                   ") to be encoder_stride (", c.encoder_stride, ")"));
    }
    const auto base = vit->forward(inputs);
    const Tensor x = base["last_hidden_state"].slice(1, 1);
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    const Tensor images = decoder(tokens_to_map(x, {side, side}));
    ModelOutput output;
    if (mask.defined()) output.set("loss", masked_image_loss(inputs["pixel_values"], images, mask, c.encoder_stride));
    output.set("reconstruction", images);
    output.pass_on(base);
    return output;
  }
};

struct ViTForImageClassification : ViTPreTrainedModel {
  std::shared_ptr<ViTModel> vit;
  nn::Linear classifier{nullptr};

  explicit ViTForImageClassification(const ViTConfig& c)
      : ViTPreTrainedModel(c), vit(register_module("vit", std::make_shared<ViTModel>(c, false))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = vit->forward(inputs.select(vit->arguments()));
    const Tensor x = base["last_hidden_state"].select(1, 0);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(vit, plugin) {
  plugin.config<ViTConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.model<ViTModel>(Auto::Model);
  plugin.model<ViTForImageClassification>(Auto::ForImageClassification);
  plugin.model<ViTForMaskedImageModeling>(Auto::ForMaskedImageModeling);
}

}  // namespace backplane::vit
