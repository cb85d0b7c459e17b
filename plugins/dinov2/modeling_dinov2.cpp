// DINOv2: Oquab et al. 2023, https://arxiv.org/abs/2304.07193
// ViT with learned scales of its branches, a gated feed-forward part in the giant, images of any size. Reference:
// transformers, models/dinov2/modeling_dinov2.py

#include "modeling_dinov2.h"

namespace backplane::dinov2 {

struct Dinov2EmbeddingsImpl : nn::Module {
  Tensor cls_token, mask_token, position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit Dinov2EmbeddingsImpl(const Dinov2Config& c)
      : patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    cls_token = register_parameter("cls_token", nn::parameter({1, 1, c.hidden_size}));
    if (c.use_mask_token) mask_token = register_parameter("mask_token", nn::parameter({1, c.hidden_size}));
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches() + 1, c.hidden_size}));
  }

  // pixel_values [batch, channels, height, width], of any size -> [batch, 1 + patches, hidden]
  Tensor forward(const Tensor& pixel_values, const Tensor& bool_masked_pos) {
    Tensor x = patch_embeddings(pixel_values, true);
    if (mask_token.defined()) x = vit::put_mask_tokens(x, mask_token, bool_masked_pos);
    x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    return dropout(x + vit::positions_for(position_embeddings, 1, patch_embeddings, pixel_values));
  }
};
TORCH_MODULE(Dinov2Embeddings);

struct Dinov2PreTrainedModel : PreTrainedModel {
  using Config = Dinov2Config;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "dinov2"}; }
};

struct Dinov2Model : Dinov2PreTrainedModel {
  const Dinov2Config& c;
  Dinov2Embeddings embeddings;
  Dinov2Encoder encoder;
  nn::LayerNorm layernorm;

  explicit Dinov2Model(const Dinov2Config& config)
      : Dinov2PreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", Dinov2Embeddings(c))),
        encoder(register_module("encoder", Dinov2Encoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    return dinov2_model(embeddings(inputs.tensor("pixel_values"), inputs.tensor("bool_masked_pos")), inputs, c, encoder,
                        layernorm);
  }
};

struct Dinov2ForImageClassification : Dinov2PreTrainedModel {
  const Dinov2Config& c;
  std::shared_ptr<Dinov2Model> dinov2;
  nn::Linear classifier{nullptr};

  explicit Dinov2ForImageClassification(const Dinov2Config& config)
      : Dinov2PreTrainedModel(config), c(config), dinov2(register_module("dinov2", std::make_shared<Dinov2Model>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(2 * c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = dinov2->forward(inputs.select(dinov2->arguments()));
    const Tensor x = dinov2_summary(base["last_hidden_state"], 1);
    return classifier_output(classifier ? classifier(x) : x, inputs, c, base);
  }
};

struct Dinov2Backbone : Dinov2PreTrainedModel {
  const Dinov2Config& c;
  Dinov2Embeddings embeddings;
  Dinov2Encoder encoder;
  nn::LayerNorm layernorm;

  explicit Dinov2Backbone(const Dinov2Config& config)
      : Dinov2PreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", Dinov2Embeddings(c))),
        encoder(register_module("encoder", Dinov2Encoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    return dinov2_backbone(embeddings(inputs.tensor("pixel_values"), Tensor()), inputs, c, 1, encoder, layernorm);
  }
};

BACKPLANE_PLUGIN(dinov2, plugin) {
  plugin.config<Dinov2Config>();
  plugin.preprocessor(Auto::ImageProcessor, "BitImageProcessor", "BitImageProcessorFast");
  plugin.model<Dinov2Model>(Auto::Model);
  plugin.model<Dinov2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<Dinov2Backbone>(Auto::Backbone);
}

}  // namespace backplane::dinov2
