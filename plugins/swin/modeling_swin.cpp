// Swin: Liu et al. 2021, https://arxiv.org/abs/2103.14030
// Attention within windows that every second layer shifts, relative positions, patches merged between stages.
// Reference: transformers, models/swin/modeling_swin.py

#include "modeling_swin.h"

namespace backplane::swin {

struct SwinPreTrainedModel : PreTrainedModel {
  using Config = SwinConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "swin"}; }
};

struct SwinModel : SwinPreTrainedModel {
  bool pools;
  SwinEmbeddings embeddings;
  SwinEncoder encoder;
  nn::LayerNorm layernorm;

  explicit SwinModel(const SwinConfig& c, bool add_pooling_layer = true, bool use_mask_token = false)
      : SwinPreTrainedModel(c),
        pools(add_pooling_layer),
        embeddings(register_module("embeddings", SwinEmbeddings(c, use_mask_token))),
        encoder(register_module("encoder", SwinEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    return swin_model(inputs, config(), embeddings, encoder, layernorm, pools);
  }
};

// Pixels of masked patches. Xie et al. 2021, https://arxiv.org/abs/2111.09886
struct SwinForMaskedImageModeling : SwinPreTrainedModel {
  const SwinConfig& c;
  std::shared_ptr<SwinModel> swin;
  nn::Sequence decoder;

  explicit SwinForMaskedImageModeling(const SwinConfig& config)
      : SwinPreTrainedModel(config),
        c(config),
        swin(register_module("swin", std::make_shared<SwinModel>(c, false, true))),
        decoder(register_module(
            "decoder", nn::Sequence(nn::Conv2d(c.hidden_size, c.encoder_stride * c.encoder_stride * c.num_channels, 1),
                                    pixel_shuffle(c.encoder_stride)))) {}

  std::span<const std::string_view> arguments() const override { return swin->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = swin->forward(inputs);
    const Tensor x = base["last_hidden_state"], mask = inputs.tensor("bool_masked_pos");
    const auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(x.size(1))));
    const Tensor images = decoder(tokens_to_map(x, {side, side}));
    ModelOutput output;
    if (mask.defined())
      output.set("loss",
                 masked_image_loss(inputs["pixel_values"], images, mask, size_of(c.patch_size, "patch_size")[0]));
    output.set("reconstruction", images);
    output.pass_on(base);
    output.set("reshaped_hidden_states", base.tuple("reshaped_hidden_states"));
    return output;
  }
};

struct SwinForImageClassification : SwinPreTrainedModel {
  std::shared_ptr<SwinModel> swin;
  nn::Linear classifier{nullptr};

  explicit SwinForImageClassification(const SwinConfig& c)
      : SwinPreTrainedModel(c), swin(register_module("swin", std::make_shared<SwinModel>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = swin->forward(inputs.select(swin->arguments()));
    const Tensor x = base["pooler_output"];
    auto output = classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
    output.set("reshaped_hidden_states", base.tuple("reshaped_hidden_states"));
    return output;
  }
};

struct SwinBackbone : SwinPreTrainedModel {
  const SwinConfig& c;
  SwinEmbeddings embeddings;
  SwinEncoder encoder;
  std::vector<nn::LayerNorm> norms;  // of each stage; empty where its map is not returned

  explicit SwinBackbone(const SwinConfig& config)
      : SwinPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", SwinEmbeddings(c, false))),
        encoder(register_module("encoder", SwinEncoder(c))) {
    auto all = register_module("hidden_states_norms", std::make_shared<nn::Module>());
    const auto channels = c.stage_channels();
    for (size_t i = 0; i < c.stage_names.size(); ++i) {
      norms.emplace_back(nullptr);
      if (c.returns_stage(i)) norms[i] = all->register_module(c.stage_names[i], nn::LayerNorm(channels[i]));
    }
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> maps;
    const auto [tokens, size] = embeddings->forward(inputs.tensor("pixel_values"), {}, false);
    encoder->forward(tokens, size, {.always_shift = true, .before_downsampling = true}, &maps, trace);
    return backbone_output(c, maps, trace, [&](size_t stage, const Tensor& x) {
      return norms[stage](x.permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
    });
  }
};

BACKPLANE_PLUGIN(swin, plugin) {
  plugin.config<SwinConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.model<SwinModel>(Auto::Model);
  plugin.model<SwinForImageClassification>(Auto::ForImageClassification);
  plugin.model<SwinForMaskedImageModeling>(Auto::ForMaskedImageModeling);
  plugin.model<SwinBackbone>(Auto::Backbone);
}

}  // namespace backplane::swin
