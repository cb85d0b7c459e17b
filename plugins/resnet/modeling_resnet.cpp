// ResNet: He et al. 2015, https://arxiv.org/abs/1512.03385
// Stages of convolutions with shortcuts, of basic or bottleneck layers; by default the stride stands in the 3 x 3
// convolution (v1.5). Reference: transformers, models/resnet/modeling_resnet.py

#include "modeling_resnet.h"

namespace backplane::resnet {

struct ResNetEmbeddingsImpl : nn::Module {
  int64_t channels;
  ResNetConvLayer embedder;

  explicit ResNetEmbeddingsImpl(const ResNetConfig& c)
      : channels(c.num_channels),
        embedder(register_module("embedder", ResNetConvLayer(channels, c.embedding_size, 7, 2, c.hidden_act))) {}

  // [batch, channels, height, width] -> [batch, embedding, height / 4, width / 4]
  Tensor forward(const Tensor& pixel_values) {
    check_images(pixel_values, channels);
    return at::max_pool2d(embedder(pixel_values), 3, 2, 1);
  }
};
TORCH_MODULE(ResNetEmbeddings);

// A basic or a bottleneck layer.
struct ResNetLayerImpl : nn::Module {
  ResNetShortCut shortcut{nullptr};
  nn::Sequence layer;
  Activation act;

  ResNetLayerImpl(const ResNetConfig& c, int64_t in_channels, int64_t out_channels, int64_t stride)
      : act(activation(c.hidden_act)) {
    if (in_channels != out_channels || stride != 1)
      shortcut = register_module("shortcut", ResNetShortCut(in_channels, out_channels, stride));
    if (c.layer_type == "bottleneck") {
      const int64_t reduced = out_channels / 4;
      layer = nn::Sequence(ResNetConvLayer(in_channels, reduced, 1, c.downsample_in_bottleneck ? stride : 1, "relu"),
                           ResNetConvLayer(reduced, reduced, 3, c.downsample_in_bottleneck ? 1 : stride, "relu"),
                           ResNetConvLayer(reduced, out_channels, 1, 1, ""));
    } else {
      layer = nn::Sequence(ResNetConvLayer(in_channels, out_channels, 3, stride, "relu"),
                           ResNetConvLayer(out_channels, out_channels, 3, 1, ""));
    }
    register_module("layer", layer);
  }

  Tensor forward(const Tensor& x) { return act(layer(x) + (shortcut ? shortcut(x) : x)); }
};
TORCH_MODULE(ResNetLayer);

struct ResNetStageImpl : nn::Module {
  nn::Layers<ResNetLayer> layers;

  ResNetStageImpl(const ResNetConfig& c, int64_t in_channels, int64_t out_channels, int64_t stride, int64_t depth)
      : layers(register_module("layers", nn::Layers<ResNetLayer>(depth, [&](int64_t i) {
                                 return ResNetLayer(c, i ? out_channels : in_channels, out_channels, i ? 1 : stride);
                               }))) {}

  Tensor forward(Tensor x) {
    for (auto& layer : *layers) x = layer(x);
    return x;
  }
};
TORCH_MODULE(ResNetStage);

struct ResNetEncoderImpl : nn::Module {
  nn::Layers<ResNetStage> stages;

  explicit ResNetEncoderImpl(const ResNetConfig& c)
      : stages(register_module("stages", nn::Layers<ResNetStage>(static_cast<int64_t>(c.depths.size()), [&](int64_t i) {
                                 const auto channels = c.stage_channels();
                                 const auto s = static_cast<size_t>(i);
                                 return ResNetStage(c, channels[s], channels[s + 1],
                                                    i || c.downsample_in_first_stage ? 2 : 1, c.depths[s]);
                               }))) {}

  Tensor forward(Tensor x, std::vector<Tensor>* states) {
    if (states) states->push_back(x);
    for (auto& stage : *stages) {
      x = stage(x);
      if (states) states->push_back(x);
    }
    return x;
  }
};
TORCH_MODULE(ResNetEncoder);

struct ResNetPreTrainedModel : PreTrainedModel {
  using Config = ResNetConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "resnet"}; }
};

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

struct ResNetModel : ResNetPreTrainedModel {
  ResNetEmbeddings embedder;
  ResNetEncoder encoder;

  explicit ResNetModel(const ResNetConfig& c)
      : ResNetPreTrainedModel(c),
        embedder(register_module("embedder", ResNetEmbeddings(c))),
        encoder(register_module("encoder", ResNetEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    const Tensor x = encoder(embedder(inputs.tensor("pixel_values")), trace.states());
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.mean({2, 3}, true));
    trace.write(output);
    return output;
  }
};

struct ResNetForImageClassification : ResNetPreTrainedModel {
  std::shared_ptr<ResNetModel> resnet;
  nn::Sequence classifier;

  explicit ResNetForImageClassification(const ResNetConfig& c)
      : ResNetPreTrainedModel(c), resnet(register_module("resnet", std::make_shared<ResNetModel>(c))) {
    classifier->add([](const Tensor& x) { return x.flatten(1); });
    if (c.num_labels() > 0) classifier->add(nn::Linear(c.hidden_sizes[c.depths.size() - 1], c.num_labels()));
    register_module("classifier", classifier);
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = resnet->forward(inputs.select(resnet->arguments()));
    return classifier_output(classifier(base["pooler_output"]), inputs, config(), base);
  }
};

struct ResNetBackbone : ResNetPreTrainedModel {
  const ResNetConfig& c;
  ResNetEmbeddings embedder;
  ResNetEncoder encoder;

  explicit ResNetBackbone(const ResNetConfig& config)
      : ResNetPreTrainedModel(config),
        c(config),
        embedder(register_module("embedder", ResNetEmbeddings(c))),
        encoder(register_module("encoder", ResNetEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> states;
    encoder(embedder(inputs.tensor("pixel_values")), &states);
    return backbone_output(c, states, trace, [](size_t, const Tensor& x) { return x; });
  }
};

BACKPLANE_PLUGIN(resnet, plugin) {
  plugin.config<ResNetConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ConvNextFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ConvNextImageProcessor", "ConvNextImageProcessorFast");
  plugin.model<ResNetModel>(Auto::Model);
  plugin.model<ResNetForImageClassification>(Auto::ForImageClassification);
  plugin.model<ResNetBackbone>(Auto::Backbone);
}

}  // namespace backplane::resnet
