// MobileNetV2: Sandler et al. 2018, https://arxiv.org/abs/1801.04381
// Inverted residuals: expand, convolve depthwise, reduce without an activation. Segmentation by DeepLabV3 (Chen et al.
// 2017, https://arxiv.org/abs/1706.05587). Reference: transformers, models/mobilenet_v2/modeling_mobilenet_v2.py

#include "../mobilenet_v1/modeling_mobilenet_v1.h"
#include "configuration_mobilenet_v2.h"

namespace backplane::mobilenet_v2 {

using mobilenet_v1::ConvLayerOptions;
using mobilenet_v1::kImageArguments;
using mobilenet_v1::MobileNetConvLayer;

static ConvLayerOptions layer_options(const MobileNetV2Config& c, bool activates = true) {
  return {.tf_padding = c.tf_padding, .eps = c.layer_norm_eps, .act = activates ? c.hidden_act : "linear"};
}

static ConvLayerOptions depthwise(const MobileNetV2Config& c, int64_t channels, int64_t stride, int64_t dilation) {
  ConvLayerOptions options = layer_options(c);
  options.kernel = 3;
  options.stride = stride;
  options.dilation = dilation;
  options.groups = channels;
  return options;
}

struct MobileNetV2InvertedResidualImpl : nn::Module {
  bool residual;
  MobileNetConvLayer expand_1x1{nullptr}, conv_3x3{nullptr}, reduce_1x1{nullptr};

  MobileNetV2InvertedResidualImpl(const MobileNetV2Config& c, int64_t in, int64_t out, int64_t stride, int64_t dilation)
      : residual(stride == 1 && in == out) {
    const int64_t wide = c.divisible(static_cast<double>(in) * c.expand_ratio);
    expand_1x1 = register_module("expand_1x1", MobileNetConvLayer(in, wide, layer_options(c)));
    conv_3x3 = register_module("conv_3x3", MobileNetConvLayer(wide, wide, depthwise(c, wide, stride, dilation)));
    reduce_1x1 = register_module("reduce_1x1", MobileNetConvLayer(wide, out, layer_options(c, false)));
  }

  Tensor forward(const Tensor& x) {
    const Tensor h = reduce_1x1(conv_3x3(expand_1x1(x)));
    return residual ? x + h : h;
  }
};
TORCH_MODULE(MobileNetV2InvertedResidual);

struct MobileNetV2StemImpl : nn::Module {
  MobileNetConvLayer first_conv{nullptr}, expand_1x1{nullptr}, conv_3x3{nullptr}, reduce_1x1{nullptr};

  MobileNetV2StemImpl(const MobileNetV2Config& c, int64_t in, int64_t wide, int64_t out) {
    ConvLayerOptions first = layer_options(c);
    first.kernel = 3;
    first.stride = 2;
    first_conv = register_module("first_conv", MobileNetConvLayer(in, wide, first));
    if (!c.first_layer_is_expansion)
      expand_1x1 = register_module("expand_1x1", MobileNetConvLayer(wide, wide, layer_options(c)));
    conv_3x3 = register_module("conv_3x3", MobileNetConvLayer(wide, wide, depthwise(c, wide, 1, 1)));
    reduce_1x1 = register_module("reduce_1x1", MobileNetConvLayer(wide, out, layer_options(c, false)));
  }

  Tensor forward(const Tensor& x) {
    const Tensor h = first_conv(x);
    return reduce_1x1(conv_3x3(expand_1x1 ? expand_1x1(h) : h));
  }
};
TORCH_MODULE(MobileNetV2Stem);

struct MobileNetV2PreTrainedModel : PreTrainedModel {
  using Config = MobileNetV2Config;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "mobilenet_v2"}; }
};

struct MobileNetV2Model : MobileNetV2PreTrainedModel {
  const MobileNetV2Config& c;
  int64_t out_channels;
  MobileNetV2Stem conv_stem;
  nn::Layers<MobileNetV2InvertedResidual> layer{nullptr};
  MobileNetConvLayer conv_1x1{nullptr};

  explicit MobileNetV2Model(const MobileNetV2Config& config)
      : MobileNetV2PreTrainedModel(config),
        c(config),
        out_channels(c.finegrained_output && c.depth_multiplier < 1 ? 1280 : c.channels(1280)),
        conv_stem(register_module("conv_stem", MobileNetV2Stem(c, c.num_channels, c.channels(32), c.channels(16)))) {
    constexpr std::array<int64_t, 17> kDepths = {16, 24, 24, 32, 32,  32,  64,  64, 64,
                                                 64, 96, 96, 96, 160, 160, 160, 320};
    constexpr std::array<int64_t, 16> kStrides = {2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1};
    int64_t stride_so_far = 2, dilation = 1;
    layer = register_module(
        "layer", nn::Layers<MobileNetV2InvertedResidual>(static_cast<int64_t>(kStrides.size()), [&](int64_t i) {
          const auto place = static_cast<size_t>(i);
          int64_t stride = kStrides[place], own_dilation = 1;
          if (stride_so_far == c.output_stride) {
            own_dilation = dilation;
            dilation *= stride;
            stride = 1;
          } else {
            stride_so_far *= stride;
          }
          return MobileNetV2InvertedResidual(c, c.channels(kDepths[place]), c.channels(kDepths[place + 1]), stride,
                                             own_dilation);
        }));
    conv_1x1 = register_module("conv_1x1", MobileNetConvLayer(c.channels(320), out_channels, layer_options(c)));
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  // The last layer's map; `trace` takes those of all.
  Tensor features(const Tensor& pixels, Trace& trace) {
    check_images(pixels, c.num_channels);
    Tensor x = conv_stem(pixels);
    for (auto& one : *layer) {
      x = one(x);
      trace.hidden_state(x);
    }
    return x;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor x = conv_1x1(features(inputs.tensor("pixel_values"), trace));
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.mean({2, 3}));
    trace.write(output);
    return output;
  }
};

struct MobileNetV2ForImageClassification : MobileNetV2PreTrainedModel {
  std::shared_ptr<MobileNetV2Model> mobilenet_v2;
  nn::Dropout dropout;
  nn::Linear classifier{nullptr};

  explicit MobileNetV2ForImageClassification(const MobileNetV2Config& c)
      : MobileNetV2PreTrainedModel(c),
        mobilenet_v2(register_module("mobilenet_v2", std::make_shared<MobileNetV2Model>(c))),
        dropout(register_module("dropout", nn::Dropout(c.classifier_dropout_prob))) {
    if (c.num_labels() > 0)
      classifier = register_module("classifier", nn::Linear(mobilenet_v2->out_channels, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = mobilenet_v2->forward(inputs.select(kImageArguments));
    const Tensor x = dropout(base["pooler_output"]);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

struct MobileNetV2DeepLabV3PlusImpl : nn::Module {
  MobileNetConvLayer conv_pool, conv_aspp, conv_projection;
  double dropout;
  MobileNetConvLayer classifier;

  explicit MobileNetV2DeepLabV3PlusImpl(const MobileNetV2Config& c)
      : conv_pool(register_module("conv_pool", layer(c, c.channels(320)))),
        conv_aspp(register_module("conv_aspp", layer(c, c.channels(320)))),
        conv_projection(register_module("conv_projection", layer(c, 512))),
        dropout(c.classifier_dropout_prob),
        classifier(register_module(
            "classifier",
            MobileNetConvLayer(256, c.num_labels(),
                               ConvLayerOptions{.with_bias = true, .tf_padding = c.tf_padding, .eps = -1}))) {}

  static MobileNetConvLayer layer(const MobileNetV2Config& c, int64_t in) {
    return MobileNetConvLayer(in, 256, ConvLayerOptions{.tf_padding = c.tf_padding, .eps = 1e-5, .act = "relu"});
  }

  // The whole map's mean beside each place.
  Tensor forward(const Tensor& x) {
    const Tensor pooled = conv_pool(x.mean({2, 3}, true)).expand({-1, -1, x.size(2), x.size(3)});
    const Tensor h = conv_projection(at::cat({pooled, conv_aspp(x)}, 1));
    return classifier(is_training() ? at::feature_dropout(h, dropout, true) : h);
  }
};
TORCH_MODULE(MobileNetV2DeepLabV3Plus);

struct MobileNetV2ForSemanticSegmentation : MobileNetV2PreTrainedModel {
  const MobileNetV2Config& c;
  std::shared_ptr<MobileNetV2Model> mobilenet_v2;
  MobileNetV2DeepLabV3Plus segmentation_head;

  explicit MobileNetV2ForSemanticSegmentation(const MobileNetV2Config& config)
      : MobileNetV2PreTrainedModel(config),
        c(config),
        mobilenet_v2(register_module("mobilenet_v2", std::make_shared<MobileNetV2Model>(c))),
        segmentation_head(register_module("segmentation_head", MobileNetV2DeepLabV3Plus(c))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor logits = segmentation_head(mobilenet_v2->features(inputs.tensor("pixel_values"), trace)),
                 labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) {
      if (c.num_labels() == 1)
        throw Error(ErrorCode::invalid_value, "the loss needs more than one label; the config has one");
      output.set("loss", segmentation_loss(logits, labels, c.semantic_loss_ignore_index));
    }
    output.set("logits", logits);
    trace.write(output);
    return output;
  }
};

BACKPLANE_PLUGIN(mobilenet_v2, plugin) {
  plugin.config<MobileNetV2Config>();
  plugin.preprocessor(Auto::FeatureExtractor, "MobileNetV2FeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "MobileNetV2ImageProcessor", "MobileNetV2ImageProcessorFast");
  plugin.model<MobileNetV2Model>(Auto::Model);
  plugin.model<MobileNetV2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<MobileNetV2ForSemanticSegmentation>(Auto::ForSemanticSegmentation);
}

}  // namespace backplane::mobilenet_v2
