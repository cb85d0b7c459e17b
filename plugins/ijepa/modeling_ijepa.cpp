// I-JEPA: Assran et al. 2023, https://arxiv.org/abs/2301.08243
// I-JEPA is ViT except: no class token and no pooler; the classifier sees the mean of all tokens. Reference:
// transformers, models/ijepa/modeling_ijepa.py

#include "../vit/modeling_vit.h"
#include "configuration_ijepa.h"

namespace backplane::ijepa {

using vit::kImageArguments;

struct IJepaEmbeddingsImpl : nn::Module {
  Tensor position_embeddings;
  nn::PatchEmbeddings patch_embeddings;
  nn::Dropout dropout;

  explicit IJepaEmbeddingsImpl(const IJepaConfig& c)
      : patch_embeddings(register_module(
            "patch_embeddings", nn::PatchEmbeddings(c.image_size, c.patch_size, c.num_channels, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, patch_embeddings->patches(), c.hidden_size}));
  }

  // pixel_values [batch, channels, height, width] -> [batch, patches, hidden]
  Tensor forward(const Tensor& pixel_values, bool interpolate) {
    return dropout(patch_embeddings(pixel_values, interpolate) +
                   vit::positions_for(position_embeddings, 0, patch_embeddings, pixel_values));
  }
};
TORCH_MODULE(IJepaEmbeddings);

struct IJepaPreTrainedModel : PreTrainedModel {
  using Config = IJepaConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "ijepa"}; }
};

struct IJepaModel : IJepaPreTrainedModel {
  IJepaEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;

  explicit IJepaModel(const IJepaConfig& c)
      : IJepaPreTrainedModel(c),
        embeddings(register_module("embeddings", IJepaEmbeddings(c))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor x = embeddings(inputs.tensor("pixel_values"), inputs.flag("interpolate_pos_encoding", false));
    ModelOutput output;
    output.set("last_hidden_state", layernorm(encoder(x, inputs.tensor("head_mask"), trace)));
    trace.write(output);
    return output;
  }
};

struct IJepaForImageClassification : IJepaPreTrainedModel {
  std::shared_ptr<IJepaModel> ijepa;
  nn::Linear classifier{nullptr};

  explicit IJepaForImageClassification(const IJepaConfig& c)
      : IJepaPreTrainedModel(c), ijepa(register_module("ijepa", std::make_shared<IJepaModel>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = ijepa->forward(inputs.select(ijepa->arguments()));
    const Tensor x = base["last_hidden_state"].mean(1);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(ijepa, plugin) {
  plugin.config<IJepaConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.model<IJepaModel>(Auto::Model);
  plugin.model<IJepaForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::ijepa
