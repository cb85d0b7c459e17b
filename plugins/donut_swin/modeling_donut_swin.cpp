// The encoder of Donut: Kim et al. 2021, https://arxiv.org/abs/2111.15664
// It is Swin except: no final norm. Reference: transformers, models/donut/modeling_donut_swin.py

#include "../swin/modeling_swin.h"
#include "configuration_donut_swin.h"

namespace backplane::donut_swin {

struct DonutSwinPreTrainedModel : PreTrainedModel {
  using Config = DonutSwinConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "donut"}; }
};

struct DonutSwinModel : DonutSwinPreTrainedModel {
  swin::SwinEmbeddings embeddings;
  swin::SwinEncoder encoder;
  nn::LayerNorm no_norm{nullptr};

  explicit DonutSwinModel(const DonutSwinConfig& c)
      : DonutSwinPreTrainedModel(c),
        embeddings(register_module("embeddings", swin::SwinEmbeddings(c, false))),
        encoder(register_module("encoder", swin::SwinEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return swin::kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    return swin::swin_model(inputs, config(), embeddings, encoder, no_norm, true);
  }
};

struct DonutSwinForImageClassification : DonutSwinPreTrainedModel {
  std::shared_ptr<DonutSwinModel> donut;
  nn::Linear classifier{nullptr};

  explicit DonutSwinForImageClassification(const DonutSwinConfig& c)
      : DonutSwinPreTrainedModel(c), donut(register_module("donut", std::make_shared<DonutSwinModel>(c))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_size, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(swin::kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = donut->forward(inputs.select(donut->arguments()));
    const Tensor x = base["pooler_output"];
    auto output = classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
    output.set("reshaped_hidden_states", base.tuple("reshaped_hidden_states"));
    return output;
  }
};

BACKPLANE_PLUGIN(donut_swin, plugin) {
  plugin.config<DonutSwinConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "DonutFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "DonutImageProcessor", "DonutImageProcessorFast");
  plugin.model<DonutSwinModel>(Auto::Model);
  plugin.model<DonutSwinForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::donut_swin
