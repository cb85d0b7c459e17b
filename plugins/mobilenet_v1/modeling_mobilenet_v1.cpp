// MobileNet: Howard et al. 2017, https://arxiv.org/abs/1704.04861
// Depthwise and pointwise convolutions in turn. Reference: transformers, models/mobilenet_v1/modeling_mobilenet_v1.py

#include "modeling_mobilenet_v1.h"

namespace backplane::mobilenet_v1 {

struct MobileNetV1PreTrainedModel : PreTrainedModel {
  using Config = MobileNetV1Config;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "mobilenet_v1"}; }
};

struct MobileNetV1Model : MobileNetV1PreTrainedModel {
  int64_t in_channels, out_channels = 0;
  MobileNetConvLayer conv_stem{nullptr};
  nn::Layers<MobileNetConvLayer> layer{nullptr};

  explicit MobileNetV1Model(const MobileNetV1Config& c) : MobileNetV1PreTrainedModel(c), in_channels(c.num_channels) {
    constexpr std::array<int64_t, 13> kStrides = {1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1};
    ConvLayerOptions options = {.tf_padding = c.tf_padding, .eps = c.layer_norm_eps, .act = c.hidden_act};
    int64_t depth = 32;
    out_channels = c.channels(depth);
    options.kernel = 3;
    options.stride = 2;
    conv_stem = register_module("conv_stem", MobileNetConvLayer(in_channels, out_channels, options));
    int64_t in = 0;
    layer = register_module("layer",
                            nn::Layers<MobileNetConvLayer>(2 * static_cast<int64_t>(kStrides.size()), [&](int64_t i) {
                              const int64_t stride = kStrides[static_cast<size_t>(i / 2)];
                              ConvLayerOptions one = options;
                              one.stride = 1;
                              if (i % 2 == 1) {
                                one.kernel = 1;
                                return MobileNetConvLayer(in, out_channels, one);
                              }
                              in = out_channels;
                              if (stride == 2 || i == 0) out_channels = c.channels(depth *= 2);
                              one.stride = stride;
                              one.groups = in;
                              return MobileNetConvLayer(in, in, one);
                            }));
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, in_channels);
    Tensor x = conv_stem(pixels);
    for (auto& one : *layer) {
      x = one(x);
      trace.hidden_state(x);
    }
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.mean({2, 3}));
    trace.write(output);
    return output;
  }
};

struct MobileNetV1ForImageClassification : MobileNetV1PreTrainedModel {
  std::shared_ptr<MobileNetV1Model> mobilenet_v1;
  nn::Dropout dropout;
  nn::Linear classifier{nullptr};

  explicit MobileNetV1ForImageClassification(const MobileNetV1Config& c)
      : MobileNetV1PreTrainedModel(c),
        mobilenet_v1(register_module("mobilenet_v1", std::make_shared<MobileNetV1Model>(c))),
        dropout(register_module("dropout", nn::Dropout(c.classifier_dropout_prob))) {
    if (c.num_labels() > 0)
      classifier = register_module("classifier", nn::Linear(mobilenet_v1->out_channels, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = mobilenet_v1->forward(inputs.select(kImageArguments));
    const Tensor x = dropout(base["pooler_output"]);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(mobilenet_v1, plugin) {
  plugin.config<MobileNetV1Config>();
  plugin.preprocessor(Auto::FeatureExtractor, "MobileNetV1FeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "MobileNetV1ImageProcessor", "MobileNetV1ImageProcessorFast");
  plugin.model<MobileNetV1Model>(Auto::Model);
  plugin.model<MobileNetV1ForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::mobilenet_v1
