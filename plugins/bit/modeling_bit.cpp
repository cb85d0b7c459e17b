// BiT: Kolesnikov et al. 2019, https://arxiv.org/abs/1912.11370
// ResNet v2 with standardised weights (Qiao et al. 2019, https://arxiv.org/abs/1903.10520) and group norm. Reference:
// transformers, models/bit/modeling_bit.py

#include "configuration_bit.h"

namespace backplane::bit {

// Pads x [batch, channels, height, width] as "same" does: as much as the windows need, the odd pixel at the end.
static Tensor pad_same(const Tensor& x, int64_t kernel, int64_t stride, int64_t dilation) {
  const auto missing = [&](int64_t size) {
    return std::max<int64_t>(((size + stride - 1) / stride - 1) * stride + (kernel - 1) * dilation + 1 - size, 0);
  };
  const int64_t h = missing(x.size(2)), w = missing(x.size(3));
  return h || w ? at::constant_pad_nd(x, {w / 2, w - w / 2, h / 2, h - h / 2}) : x;
}

struct WeightStandardizedConv2dImpl : nn::Module {
  Tensor weight;
  int64_t kernel, stride, dilation, padding = 0;
  bool pads_same = false;
  double eps;

  WeightStandardizedConv2dImpl(const BitConfig& c, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1,
                               int64_t dilation = 1)
      : weight(register_parameter("weight", nn::parameter({out, in, kernel, kernel}))),
        kernel(kernel),
        stride(stride),
        dilation(dilation),
        eps(1e-8) {
    const int64_t reach = dilation * (kernel - 1);
    if (!c.global_padding) {
      padding = (stride - 1 + reach) / 2;
    } else if (*c.global_padding == "SAME") {
      pads_same = stride != 1 || reach % 2 != 0;
      if (!pads_same) padding = reach / 2;
    }
  }

  Tensor forward(const Tensor& x) {
    const Tensor flat = weight.flatten(1);
    const Tensor standard = ((flat - flat.mean(1, true)) / at::sqrt(flat.var(1, false, true) + eps)).view_as(weight);
    return at::conv2d(pads_same ? pad_same(x, kernel, stride, dilation) : x, standard, {}, {stride, stride},
                      at::IntArrayRef({padding, padding}), {dilation, dilation});
  }
};
TORCH_MODULE(WeightStandardizedConv2d);

struct BitGroupNormActivationImpl : nn::GroupNormImpl {
  Activation act;

  BitGroupNormActivationImpl(const BitConfig& c, int64_t channels, bool activates = true)
      : GroupNormImpl(c.num_groups, channels), act(activation(activates ? c.hidden_act : "linear")) {}

  Tensor forward(const Tensor& x) { return act(GroupNormImpl::forward(x)); }
};
TORCH_MODULE(BitGroupNormActivation);

struct BitEmbeddingsImpl : nn::Module {
  int64_t channels;
  bool pads_map, pads_windows;
  WeightStandardizedConv2d convolution;
  BitGroupNormActivation norm{nullptr};

  explicit BitEmbeddingsImpl(const BitConfig& c)
      : channels(c.num_channels),
        pads_map(c.global_padding != "SAME"),
        pads_windows(c.embedding_dynamic_padding),
        convolution(register_module("convolution", WeightStandardizedConv2d(c, channels, c.embedding_size, 7, 2))) {
    if (c.layer_type != "preactivation") norm = register_module("norm", BitGroupNormActivation(c, c.embedding_size));
  }

  Tensor forward(const Tensor& pixel_values) {
    check_images(pixel_values, channels);
    Tensor x = convolution(pixel_values);
    if (pads_map) x = at::constant_pad_nd(x, {1, 1, 1, 1});
    if (norm) x = norm(x);
    return at::max_pool2d(pads_windows ? pad_same(x, 3, 2, 1) : x, 3, 2);
  }
};
TORCH_MODULE(BitEmbeddings);

// The nearest multiple of 8 that is at least 90 % of the value.
static int64_t make_div(double value) {
  constexpr int64_t kDivisor = 8;
  int64_t rounded = std::max(kDivisor, static_cast<int64_t>(value + kDivisor / 2.0) / kDivisor * kDivisor);
  if (static_cast<double>(rounded) < 0.9 * value) rounded += kDivisor;
  return rounded;
}

struct BitDownsampleConvImpl : nn::Module {
  WeightStandardizedConv2d conv;
  BitGroupNormActivation norm{nullptr};

  BitDownsampleConvImpl(const BitConfig& c, int64_t in, int64_t out, int64_t stride)
      : conv(register_module("conv", WeightStandardizedConv2d(c, in, out, 1, stride))) {
    if (c.layer_type == "bottleneck") norm = register_module("norm", BitGroupNormActivation(c, out, false));
  }

  Tensor forward(const Tensor& x) { return norm ? norm(conv(x)) : conv(x); }
};
TORCH_MODULE(BitDownsampleConv);

struct BitLayerImpl : nn::Module {
  bool preactivation;
  BitDownsampleConv downsample{nullptr};
  BitGroupNormActivation norm1{nullptr}, norm2{nullptr}, norm3{nullptr};
  WeightStandardizedConv2d conv1, conv2, conv3;
  nn::DropPath drop_path;
  Activation act;

  BitLayerImpl(const BitConfig& c, int64_t in, int64_t out, int64_t stride, int64_t dilation, double drop, bool first)
      : BitLayerImpl(c, in, out, make_div(static_cast<double>(out) * 0.25), stride, dilation, drop, first) {}

  // Norms and activations stand before the convolutions (v2) or after them.
  Tensor forward(const Tensor& x) {
    if (preactivation) {
      const Tensor h = norm1(x);
      return (downsample ? downsample(h) : x) + drop_path(conv3(norm3(conv2(norm2(conv1(h))))));
    }
    const Tensor h = drop_path(norm3(conv3(norm2(conv2(norm1(conv1(x)))))));
    return act(h + (downsample ? downsample(x) : x));
  }

 private:
  BitLayerImpl(const BitConfig& c, int64_t in, int64_t out, int64_t mid, int64_t stride, int64_t dilation, double drop,
               bool first)
      : preactivation(c.layer_type == "preactivation"),
        conv1(register_module("conv1", WeightStandardizedConv2d(c, in, mid, 1))),
        conv2(register_module("conv2", WeightStandardizedConv2d(c, mid, mid, 3, stride, preactivation ? 1 : dilation))),
        conv3(register_module("conv3", WeightStandardizedConv2d(c, mid, out, 1))),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        act(activation(c.hidden_act)) {
    if (first) downsample = register_module("downsample", BitDownsampleConv(c, in, out, stride));
    norm1 = register_module("norm1", BitGroupNormActivation(c, preactivation ? in : mid));
    norm2 = register_module("norm2", BitGroupNormActivation(c, mid));
    norm3 = register_module("norm3", BitGroupNormActivation(c, preactivation ? mid : out, preactivation));
  }
};
TORCH_MODULE(BitLayer);

struct BitStageImpl : nn::Module {
  nn::Layers<BitLayer> layers;

  BitStageImpl(const BitConfig& c, int64_t in, int64_t out, int64_t stride, int64_t dilation, int64_t depth,
               const double* drops)
      : layers(register_module("layers", nn::Layers<BitLayer>(depth, [&](int64_t i) {
                                 const int64_t first_dilation = dilation <= 2 ? 1 : 2;
                                 return BitLayer(c, i ? out : in, out, i ? 1 : stride, i ? dilation : first_dilation,
                                                 drops[i], i == 0);
                               }))) {}

  Tensor forward(Tensor x) {
    for (auto& layer : *layers) x = layer(x);
    return x;
  }
};
TORCH_MODULE(BitStage);

struct BitEncoderImpl : nn::Module {
  nn::Layers<BitStage> stages{nullptr};

  explicit BitEncoderImpl(const BitConfig& c) {
    int64_t count = 0, in = c.embedding_size, stride_so_far = 4, dilation = 1, layer = 0;
    for (int64_t depth : c.depths) count += depth;
    const auto rates = linear_rates(c.drop_path_rate, count);
    stages = register_module("stages", nn::Layers<BitStage>(static_cast<int64_t>(c.depths.size()), [&](int64_t i) {
                               const auto s = static_cast<size_t>(i);
                               const int64_t out = make_div(static_cast<double>(c.hidden_sizes[s]) * c.width_factor);
                               int64_t stride = i ? 2 : 1;
                               if (stride_so_far >= c.output_stride) {
                                 dilation *= stride;
                                 stride = 1;
                               }
                               BitStage stage(c, in, out, stride, dilation, c.depths[s], rates.data() + layer);
                               layer += c.depths[s];
                               stride_so_far *= stride;
                               in = out;
                               return stage;
                             }));
  }

  Tensor forward(Tensor x, std::vector<Tensor>* states) {
    if (states) states->push_back(x);
    for (auto& stage : *stages) {
      x = stage(x);
      if (states) states->push_back(x);
    }
    return x;
  }
};
TORCH_MODULE(BitEncoder);

struct BitPreTrainedModel : PreTrainedModel {
  using Config = BitConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "bit"}; }
};

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

struct BitModel : BitPreTrainedModel {
  BitEmbeddings embedder;
  BitEncoder encoder;
  BitGroupNormActivation norm{nullptr};

  explicit BitModel(const BitConfig& c)
      : BitPreTrainedModel(c),
        embedder(register_module("embedder", BitEmbeddings(c))),
        encoder(register_module("encoder", BitEncoder(c))) {
    if (c.layer_type == "preactivation")
      norm = register_module("norm", BitGroupNormActivation(c, c.hidden_sizes.back()));
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    Tensor x = encoder(embedder(inputs.tensor("pixel_values")), trace.states());
    if (norm) x = norm(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", x.mean({2, 3}, true));
    trace.write(output);
    return output;
  }
};

struct BitForImageClassification : BitPreTrainedModel {
  std::shared_ptr<BitModel> bit;
  nn::Sequence classifier;

  explicit BitForImageClassification(const BitConfig& c)
      : BitPreTrainedModel(c), bit(register_module("bit", std::make_shared<BitModel>(c))) {
    classifier->add([](const Tensor& x) { return x.flatten(1); });
    if (c.num_labels() > 0) classifier->add(nn::Linear(c.hidden_sizes.back(), c.num_labels()));
    register_module("classifier", classifier);
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = bit->forward(inputs.select(kImageArguments));
    return classifier_output(classifier(base["pooler_output"]), inputs, config(), base);
  }
};

struct BitBackbone : BitPreTrainedModel {
  const BitConfig& c;
  std::shared_ptr<BitModel> bit;

  explicit BitBackbone(const BitConfig& config)
      : BitPreTrainedModel(config), c(config), bit(register_module("bit", std::make_shared<BitModel>(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    std::vector<Tensor> states;
    bit->encoder(bit->embedder(inputs.tensor("pixel_values")), &states);
    return backbone_output(c, states, Trace(inputs, c), [](size_t, const Tensor& x) { return x; });
  }
};

BACKPLANE_PLUGIN(bit, plugin) {
  plugin.config<BitConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "BitImageProcessor", "BitImageProcessorFast");
  plugin.model<BitModel>(Auto::Model);
  plugin.model<BitForImageClassification>(Auto::ForImageClassification);
  plugin.model<BitBackbone>(Auto::Backbone);
}

}  // namespace backplane::bit
