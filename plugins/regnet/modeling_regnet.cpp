// RegNet: Radosavovic et al. 2020, https://arxiv.org/abs/2003.13678
// RegNet is ResNet except: grouped 3 x 3 convolutions without a bottleneck and, in Y layers, squeeze and excitation
// (Hu et al. 2017, https://arxiv.org/abs/1709.01507). Reference: transformers, models/regnet/modeling_regnet.py

#include "configuration_regnet.h"

namespace backplane::regnet {

struct RegNetConvLayerImpl : nn::Module {
  nn::Conv2d convolution;
  nn::BatchNorm normalization;
  Activation act;

  RegNetConvLayerImpl(int64_t in_channels, int64_t out_channels, int64_t kernel, int64_t stride, int64_t groups,
                      const std::string& act)
      : convolution(register_module(
            "convolution",
            nn::Conv2d(in_channels, out_channels, kernel,
                       nn::Square{.stride = stride, .padding = kernel / 2, .groups = groups, .with_bias = false}))),
        normalization(register_module("normalization", nn::BatchNorm(out_channels))),
        act(activation(act)) {}

  Tensor forward(const Tensor& x) { return act(normalization(convolution(x))); }
};
TORCH_MODULE(RegNetConvLayer);

// Channels are weighed by what the whole map holds.
struct RegNetSELayerImpl : nn::Module {
  nn::Sequence attention;

  RegNetSELayerImpl(int64_t channels, int64_t reduced)
      : attention(register_module("attention", nn::Sequence(nn::Conv2d(channels, reduced, 1), activation("relu"),
                                                            nn::Conv2d(reduced, channels, 1), activation("sigmoid")))) {
  }

  Tensor forward(const Tensor& x) { return x * attention(x.mean({2, 3}, true)); }
};
TORCH_MODULE(RegNetSELayer);

struct RegNetShortCutImpl : nn::Module {
  nn::Conv2d convolution;
  nn::BatchNorm normalization;

  RegNetShortCutImpl(int64_t in_channels, int64_t out_channels, int64_t stride)
      : convolution(register_module(
            "convolution", nn::Conv2d(in_channels, out_channels, 1, nn::Square{.stride = stride, .with_bias = false}))),
        normalization(register_module("normalization", nn::BatchNorm(out_channels))) {}

  Tensor forward(const Tensor& x) { return normalization(convolution(x)); }
};
TORCH_MODULE(RegNetShortCut);

// An X or a Y layer.
struct RegNetLayerImpl : nn::Module {
  RegNetShortCut shortcut{nullptr};
  nn::Sequence layer;
  Activation act;

  RegNetLayerImpl(const RegNetConfig& c, int64_t in_channels, int64_t out_channels, int64_t stride)
      : act(activation(c.hidden_act)) {
    const int64_t groups = std::max<int64_t>(1, out_channels / c.groups_width);
    if (in_channels != out_channels || stride != 1)
      shortcut = register_module("shortcut", RegNetShortCut(in_channels, out_channels, stride));
    layer->add(RegNetConvLayer(in_channels, out_channels, 1, 1, 1, c.hidden_act));
    layer->add(RegNetConvLayer(out_channels, out_channels, 3, stride, groups, c.hidden_act));
    if (c.layer_type == "y") {
      const auto reduced = static_cast<int64_t>(std::nearbyint(static_cast<double>(in_channels) / 4));
      layer->add(RegNetSELayer(out_channels, reduced));
    }
    layer->add(RegNetConvLayer(out_channels, out_channels, 1, 1, 1, "linear"));
    register_module("layer", layer);
  }

  Tensor forward(const Tensor& x) { return act(layer(x) + (shortcut ? shortcut(x) : x)); }
};
TORCH_MODULE(RegNetLayer);

struct RegNetStageImpl : nn::Module {
  nn::Layers<RegNetLayer> layers;

  RegNetStageImpl(const RegNetConfig& c, int64_t in_channels, int64_t out_channels, int64_t depth)
      : layers(register_module("layers", nn::Layers<RegNetLayer>(depth, [&](int64_t i) {
                                 return RegNetLayer(c, i ? out_channels : in_channels, out_channels, i ? 1 : 2);
                               }))) {}

  Tensor forward(Tensor x) {
    for (auto& layer : *layers) x = layer(x);
    return x;
  }
};
TORCH_MODULE(RegNetStage);

struct RegNetEmbeddingsImpl : nn::Module {
  int64_t channels;
  RegNetConvLayer embedder;

  explicit RegNetEmbeddingsImpl(const RegNetConfig& c)
      : channels(c.num_channels),
        embedder(register_module("embedder", RegNetConvLayer(channels, c.embedding_size, 3, 2, 1, c.hidden_act))) {}

  Tensor forward(const Tensor& pixel_values) {
    check_images(pixel_values, channels);
    return embedder(pixel_values);
  }
};
TORCH_MODULE(RegNetEmbeddings);

struct RegNetEncoderImpl : nn::Module {
  nn::Layers<RegNetStage> stages;

  explicit RegNetEncoderImpl(const RegNetConfig& c)
      : stages(register_module("stages", nn::Layers<RegNetStage>(static_cast<int64_t>(c.depths.size()), [&](int64_t i) {
                                 const auto s = static_cast<size_t>(i);
                                 return RegNetStage(c, i ? c.hidden_sizes[s - 1] : c.embedding_size, c.hidden_sizes[s],
                                                    c.depths[s]);
                               }))) {}

  Tensor forward(Tensor x, Trace& trace) {
    trace.hidden_state(x);
    for (auto& stage : *stages) {
      x = stage(x);
      trace.hidden_state(x);
    }
    return x;
  }
};
TORCH_MODULE(RegNetEncoder);

struct RegNetPreTrainedModel : PreTrainedModel {
  using Config = RegNetConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "regnet"}; }
};

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

struct RegNetModel : RegNetPreTrainedModel {
  RegNetEmbeddings embedder;
  RegNetEncoder encoder;

  explicit RegNetModel(const RegNetConfig& c)
      : RegNetPreTrainedModel(c),
        embedder(register_module("embedder", RegNetEmbeddings(c))),
        encoder(register_module("encoder", RegNetEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor x = encoder(embedder(inputs.tensor("pixel_values")), trace);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.mean({2, 3}, true));
    trace.write(output);
    return output;
  }
};

struct RegNetForImageClassification : RegNetPreTrainedModel {
  std::shared_ptr<RegNetModel> regnet;
  nn::Sequence classifier;

  explicit RegNetForImageClassification(const RegNetConfig& c)
      : RegNetPreTrainedModel(c), regnet(register_module("regnet", std::make_shared<RegNetModel>(c))) {
    classifier->add([](const Tensor& x) { return x.flatten(1); });
    if (c.num_labels() > 0) classifier->add(nn::Linear(c.hidden_sizes[c.depths.size() - 1], c.num_labels()));
    register_module("classifier", classifier);
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = regnet->forward(inputs.select(kImageArguments));
    return classifier_output(classifier(base["pooler_output"]), inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(regnet, plugin) {
  plugin.config<RegNetConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ConvNextFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ConvNextImageProcessor", "ConvNextImageProcessorFast");
  plugin.model<RegNetModel>(Auto::Model);
  plugin.model<RegNetForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::regnet
