// ViT-MSN: Assran et al. 2022, https://arxiv.org/abs/2204.07141
// ViT-MSN is ViT except: no pooler. Reference: transformers, models/vit_msn/modeling_vit_msn.py

#include "../vit/modeling_vit.h"
#include "configuration_vit_msn.h"

namespace backplane::vit_msn {

using vit::kImageArguments;

struct ViTMSNPreTrainedModel : PreTrainedModel {
  using Config = ViTMSNConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vit"}; }
};

struct ViTMSNModel : ViTMSNPreTrainedModel {
  vit::ViTEmbeddings embeddings;
  vit::ViTEncoder encoder;
  nn::LayerNorm layernorm;

  explicit ViTMSNModel(const ViTMSNConfig& c)
      : ViTMSNPreTrainedModel(c),
        embeddings(register_module("embeddings", vit::ViTEmbeddings(c, false))),
        encoder(register_module("encoder", vit::ViTEncoder(c))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "bool_masked_pos");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor x = embeddings(inputs.tensor("pixel_values"), inputs.tensor("bool_masked_pos"),
                                inputs.flag("interpolate_pos_encoding", false));
    ModelOutput output;
    output.set("last_hidden_state", layernorm(encoder(x, inputs.tensor("head_mask"), trace)));
    trace.write(output);
    return output;
  }
};

struct ViTMSNForImageClassification : ViTMSNPreTrainedModel {
  std::shared_ptr<ViTMSNModel> vit;
  nn::Linear classifier{nullptr};

  explicit ViTMSNForImageClassification(const ViTMSNConfig& c)
      : ViTMSNPreTrainedModel(c), vit(register_module("vit", std::make_shared<ViTMSNModel>(c))) {
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

BACKPLANE_PLUGIN(vit_msn, plugin) {
  plugin.config<ViTMSNConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ViTFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ViTImageProcessor", "ViTImageProcessorFast");
  plugin.model<ViTMSNModel>(Auto::Model);
  plugin.model<ViTMSNForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::vit_msn
