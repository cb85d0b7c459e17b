// EfficientNet: Tan and Le 2019, https://arxiv.org/abs/1905.11946
// Inverted residuals with squeeze and excitation, width and depth scaled together. Reference: transformers,
// models/efficientnet/modeling_efficientnet.py

#include <algorithm>

#include "configuration_efficientnet.h"

namespace backplane::efficientnet {

struct EfficientNetEmbeddingsImpl : nn::Module {
  int64_t channels;
  nn::Conv2d convolution;
  nn::BatchNorm batchnorm;
  Activation act;

  explicit EfficientNetEmbeddingsImpl(const EfficientNetConfig& c)
      : channels(c.num_channels),
        convolution(register_module("convolution",
                                    nn::Conv2d(channels, c.width(32), 3, nn::Square{.stride = 2, .with_bias = false}))),
        batchnorm(register_module("batchnorm", nn::BatchNorm(c.width(32), c.batch_norm_eps, c.batch_norm_momentum))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& pixel_values) {
    check_images(pixel_values, channels);
    return act(batchnorm(convolution(at::constant_pad_nd(pixel_values, {0, 1, 0, 1}))));
  }
};
TORCH_MODULE(EfficientNetEmbeddings);

struct EfficientNetExpansionLayerImpl : nn::Module {
  nn::Conv2d expand_conv;
  nn::BatchNorm expand_bn;
  Activation act;

  EfficientNetExpansionLayerImpl(const EfficientNetConfig& c, int64_t in, int64_t out)
      : expand_conv(register_module("expand_conv", nn::Conv2d(in, out, 1, nn::Square{.with_bias = false}))),
        expand_bn(register_module("expand_bn", nn::BatchNorm(out, c.batch_norm_eps))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return act(expand_bn(expand_conv(x))); }
};
TORCH_MODULE(EfficientNetExpansionLayer);

struct EfficientNetDepthwiseLayerImpl : nn::Module {
  int64_t stride, before, after;  // padding of strided convolutions
  nn::Conv2d depthwise_conv;
  nn::BatchNorm depthwise_norm;
  Activation act;

  EfficientNetDepthwiseLayerImpl(const EfficientNetConfig& c, int64_t channels, int64_t stride, int64_t kernel,
                                 bool even_padding)
      : stride(stride),
        before(kernel / 2 - (even_padding ? 0 : 1)),
        after(kernel / 2),
        depthwise_conv(register_module("depthwise_conv", nn::Conv2d(channels, channels, kernel,
                                                                    nn::Square{.stride = stride,
                                                                               .padding = stride == 2 ? 0 : kernel / 2,
                                                                               .groups = channels,
                                                                               .with_bias = false}))),
        depthwise_norm(
            register_module("depthwise_norm", nn::BatchNorm(channels, c.batch_norm_eps, c.batch_norm_momentum))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) {
    return act(
        depthwise_norm(depthwise_conv(stride == 2 ? at::constant_pad_nd(x, {before, after, before, after}) : x)));
  }
};
TORCH_MODULE(EfficientNetDepthwiseLayer);

struct EfficientNetSqueezeExciteLayerImpl : nn::Module {
  nn::Conv2d reduce, expand;
  Activation act;

  EfficientNetSqueezeExciteLayerImpl(const EfficientNetConfig& c, int64_t channels, int64_t squeezed)
      : reduce(register_module("reduce", nn::Conv2d(channels, squeezed, 1))),
        expand(register_module("expand", nn::Conv2d(squeezed, channels, 1))),
        act(activation(c.hidden_act)) {}

  Tensor forward(const Tensor& x) { return x * at::sigmoid(expand(act(reduce(x.mean({2, 3}, true))))); }
};
TORCH_MODULE(EfficientNetSqueezeExciteLayer);

struct EfficientNetFinalBlockLayerImpl : nn::Module {
  bool skips;
  nn::Conv2d project_conv;
  nn::BatchNorm project_bn;
  nn::Dropout dropout;

  EfficientNetFinalBlockLayerImpl(const EfficientNetConfig& c, int64_t in, int64_t out, bool skips, double drop)
      : skips(skips),
        project_conv(register_module("project_conv", nn::Conv2d(in, out, 1, nn::Square{.with_bias = false}))),
        project_bn(register_module("project_bn", nn::BatchNorm(out, c.batch_norm_eps, c.batch_norm_momentum))),
        dropout(register_module("dropout", nn::Dropout(drop))) {}

  Tensor forward(const Tensor& residual, const Tensor& x) {
    const Tensor h = project_bn(project_conv(x));
    return skips ? dropout(h) + residual : h;
  }
};
TORCH_MODULE(EfficientNetFinalBlockLayer);

struct BlockOptions {
  int64_t in, out, stride, expand_ratio, kernel;
  bool is_first;  // of its stage
  bool even_padding;
  double drop;
};

struct EfficientNetBlockImpl : nn::Module {
  EfficientNetExpansionLayer expansion{nullptr};
  EfficientNetDepthwiseLayer depthwise_conv{nullptr};
  EfficientNetSqueezeExciteLayer squeeze_excite{nullptr};
  EfficientNetFinalBlockLayer projection{nullptr};

  EfficientNetBlockImpl(const EfficientNetConfig& c, const BlockOptions& o) {
    const int64_t wide = o.in * o.expand_ratio;
    const auto squeezed =
        std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(o.in) * c.squeeze_expansion_ratio));
    if (o.expand_ratio != 1) expansion = register_module("expansion", EfficientNetExpansionLayer(c, o.in, wide));
    depthwise_conv =
        register_module("depthwise_conv", EfficientNetDepthwiseLayer(c, wide, o.stride, o.kernel, o.even_padding));
    squeeze_excite = register_module("squeeze_excite", EfficientNetSqueezeExciteLayer(c, wide, squeezed));
    projection = register_module("projection",
                                 EfficientNetFinalBlockLayer(c, wide, o.out, o.stride == 1 && !o.is_first, o.drop));
  }

  Tensor forward(const Tensor& x) {
    return projection(x, squeeze_excite(depthwise_conv(expansion ? expansion(x) : x)));
  }
};
TORCH_MODULE(EfficientNetBlock);

static std::vector<BlockOptions> blocks_of(const EfficientNetConfig& c) {
  constexpr int64_t kMostBlocks = 10000;
  std::vector<BlockOptions> blocks;
  for (size_t i = 0; i < c.in_channels.size(); ++i) {
    const double repeats = std::ceil(c.depth_coefficient * static_cast<double>(c.num_block_repeats[i]));
    if (!(repeats >= 0 && repeats < kMostBlocks))
      throw Error(ErrorCode::bad_config,
                  concat("depth_coefficient is ", c.depth_coefficient, ", which is not possible"));
    const int64_t in = c.width(c.in_channels[i]), out = c.width(c.out_channels[i]);
    for (int64_t j = 0; j < static_cast<int64_t>(repeats); ++j) {
      const auto number = static_cast<int64_t>(blocks.size());
      const auto& even = c.depthwise_padding;
      blocks.push_back({.in = j ? out : in,
                        .out = out,
                        .stride = j ? 1 : c.strides[i],
                        .expand_ratio = c.expand_ratios[i],
                        .kernel = c.kernel_sizes[i],
                        .is_first = j == 0,
                        .even_padding = std::find(even.begin(), even.end(), number) != even.end(),
                        .drop = 0});
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i)
    blocks[i].drop = c.drop_connect_rate * static_cast<double>(i) / static_cast<double>(blocks.size());
  return blocks;
}

struct EfficientNetEncoderImpl : nn::Module {
  nn::Layers<EfficientNetBlock> blocks{nullptr};
  nn::Conv2d top_conv{nullptr};
  nn::BatchNorm top_bn{nullptr};
  Activation act;

  explicit EfficientNetEncoderImpl(const EfficientNetConfig& c) : act(activation(c.hidden_act)) {
    const auto options = blocks_of(c);
    blocks =
        register_module("blocks", nn::Layers<EfficientNetBlock>(static_cast<int64_t>(options.size()), [&](int64_t i) {
                          return EfficientNetBlock(c, options[static_cast<size_t>(i)]);
                        }));
    top_conv = register_module("top_conv", nn::Conv2d(c.width(c.out_channels[c.in_channels.size() - 1]), c.width(1280),
                                                      1, nn::Square{.with_bias = false}));
    top_bn = register_module("top_bn", nn::BatchNorm(c.hidden_dim, c.batch_norm_eps, c.batch_norm_momentum));
  }

  Tensor forward(Tensor x, Trace& trace) {
    trace.hidden_state(x);
    for (auto& block : *blocks) {
      x = block(x);
      trace.hidden_state(x);
    }
    return act(top_bn(top_conv(x)));
  }
};
TORCH_MODULE(EfficientNetEncoder);

struct EfficientNetPreTrainedModel : PreTrainedModel {
  using Config = EfficientNetConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "efficientnet"}; }
};

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

struct EfficientNetModel : EfficientNetPreTrainedModel {
  const EfficientNetConfig& c;
  EfficientNetEmbeddings embeddings;
  EfficientNetEncoder encoder;

  explicit EfficientNetModel(const EfficientNetConfig& config)
      : EfficientNetPreTrainedModel(config),
        c(config),
        embeddings(register_module("embeddings", EfficientNetEmbeddings(c))),
        encoder(register_module("encoder", EfficientNetEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor x = encoder(embeddings(inputs.tensor("pixel_values")), trace);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", c.pooling_type == "mean" ? x.mean({2, 3}) : x.amax({2, 3}));
    trace.write(output);
    return output;
  }
};

struct EfficientNetForImageClassification : EfficientNetPreTrainedModel {
  std::shared_ptr<EfficientNetModel> efficientnet;
  nn::Dropout dropout;
  nn::Linear classifier{nullptr};

  explicit EfficientNetForImageClassification(const EfficientNetConfig& c)
      : EfficientNetPreTrainedModel(c),
        efficientnet(register_module("efficientnet", std::make_shared<EfficientNetModel>(c))),
        dropout(register_module("dropout", nn::Dropout(c.dropout_rate))) {
    if (c.num_labels() > 0) classifier = register_module("classifier", nn::Linear(c.hidden_dim, c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = efficientnet->forward(inputs.select(kImageArguments));
    const Tensor x = dropout(base["pooler_output"]);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(efficientnet, plugin) {
  plugin.config<EfficientNetConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "EfficientNetImageProcessor", "EfficientNetImageProcessorFast");
  plugin.model<EfficientNetModel>(Auto::Model);
  plugin.model<EfficientNetForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::efficientnet
