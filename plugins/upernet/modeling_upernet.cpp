// UPerNet: Xiao et al. 2018, https://arxiv.org/abs/1807.10221
// Pyramid pooling over the last map of any backbone and a feature pyramid over all. Reference: transformers,
// models/upernet/modeling_upernet.py

#include "configuration_upernet.h"

namespace backplane::upernet {

static Tensor like(const Tensor& x, const Tensor& other) {
  return resize(x, {other.size(2), other.size(3)}, Resampling::bilinear);
}

struct UperNetConvModuleImpl : nn::Module {
  nn::Conv2d conv;
  nn::BatchNorm batch_norm;

  UperNetConvModuleImpl(int64_t in, int64_t out, int64_t kernel)
      : conv(register_module("conv",
                             nn::Conv2d(in, out, kernel, nn::Square{.padding = kernel / 2, .with_bias = false}))),
        batch_norm(register_module("batch_norm", nn::BatchNorm(out))) {}

  Tensor forward(const Tensor& x) { return at::relu(batch_norm(conv(x))); }
};
TORCH_MODULE(UperNetConvModule);

struct UperNetHeadImpl : nn::Module {
  nn::Conv2d classifier;
  nn::Layers<nn::Sequence> psp_modules;
  UperNetConvModule bottleneck;
  nn::Layers<UperNetConvModule> lateral_convs, fpn_convs;
  UperNetConvModule fpn_bottleneck;

  // channels: of each map
  UperNetHeadImpl(const UperNetConfig& c, const std::vector<int64_t>& channels)
      : classifier(register_module("classifier", nn::Conv2d(c.hidden_size, c.num_labels(), 1))),
        psp_modules(register_module(
            "psp_modules", nn::Layers<nn::Sequence>(static_cast<int64_t>(c.pool_scales.size()),
                                                    [&](int64_t i) {
                                                      const int64_t scale = c.pool_scales[static_cast<size_t>(i)];
                                                      return nn::Sequence(
                                                          [scale](const Tensor& x) {
                                                            return at::adaptive_avg_pool2d(x, {scale, scale});
                                                          },
                                                          UperNetConvModule(channels.back(), c.hidden_size, 1));
                                                    }))),
        bottleneck(register_module(
            "bottleneck",
            UperNetConvModule(channels.back() + static_cast<int64_t>(c.pool_scales.size()) * c.hidden_size,
                              c.hidden_size, 3))),
        lateral_convs(register_module(
            "lateral_convs", nn::Layers<UperNetConvModule>(static_cast<int64_t>(channels.size()) - 1,
                                                           [&](int64_t i) {
                                                             return UperNetConvModule(channels[static_cast<size_t>(i)],
                                                                                      c.hidden_size, 1);
                                                           }))),
        fpn_convs(register_module("fpn_convs", nn::Layers<UperNetConvModule>(static_cast<int64_t>(channels.size()) - 1,
                                                                             [&](int64_t) {
                                                                               return UperNetConvModule(
                                                                                   c.hidden_size, c.hidden_size, 3);
                                                                             }))),
        fpn_bottleneck(register_module(
            "fpn_bottleneck",
            UperNetConvModule(static_cast<int64_t>(channels.size()) * c.hidden_size, c.hidden_size, 3))) {}

  // The finest map first -> [batch, labels, height, width] of the first.
  Tensor forward(const std::vector<Tensor>& maps) {
    const size_t last = maps.size() - 1;
    std::vector<Tensor> pooled = {maps[last]}, x;
    for (auto& pool : *psp_modules) pooled.push_back(like(pool(maps[last]), maps[last]));
    for (size_t i = 0; i < last; ++i) x.push_back((*lateral_convs)[i](maps[i]));
    x.push_back(bottleneck(at::cat(pooled, 1)));
    for (size_t i = last; i > 0; --i) x[i - 1] = x[i - 1] + like(x[i], x[i - 1]);
    for (size_t i = 0; i < last; ++i) x[i] = (*fpn_convs)[i](x[i]);
    for (size_t i = 1; i <= last; ++i) x[i] = like(x[i], x[0]);
    return classifier(fpn_bottleneck(at::cat(x, 1)));
  }
};
TORCH_MODULE(UperNetHead);

// Convolutions over the third map. Long et al. 2014, https://arxiv.org/abs/1411.4038
struct UperNetFCNHeadImpl : nn::Module {
  nn::Layers<UperNetConvModule> convs{nullptr};
  UperNetConvModule conv_cat{nullptr};
  nn::Conv2d classifier;

  UperNetFCNHeadImpl(const UperNetConfig& c, int64_t in)
      : classifier(register_module("classifier", nn::Conv2d(c.auxiliary_channels, c.num_labels(), 1))) {
    convs = register_module("convs", nn::Layers<UperNetConvModule>(c.auxiliary_num_convs, [&](int64_t i) {
                              return UperNetConvModule(i ? c.auxiliary_channels : in, c.auxiliary_channels, 3);
                            }));
    if (c.auxiliary_concat_input)
      conv_cat = register_module("conv_cat", UperNetConvModule(in + c.auxiliary_channels, c.auxiliary_channels, 3));
  }

  Tensor forward(const std::vector<Tensor>& maps) {
    Tensor x = maps[2];
    for (auto& conv : *convs) x = conv(x);
    return classifier(conv_cat ? conv_cat(at::cat({maps[2], x}, 1)) : x);
  }
};
TORCH_MODULE(UperNetFCNHead);

struct UperNetForSemanticSegmentation : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = UperNetConfig;
  const UperNetConfig& c;
  std::vector<int64_t> channels;
  std::shared_ptr<PreTrainedModel> backbone;
  UperNetHead decode_head;
  UperNetFCNHead auxiliary_head{nullptr};

  explicit UperNetForSemanticSegmentation(const UperNetConfig& config)
      : PreTrainedModel(config),
        c(config),
        channels(backbone_channels(c)),
        backbone(register_module("backbone", make_model(Auto::Backbone, *c.backbone_config))),
        decode_head(register_module("decode_head", UperNetHead(c, channels))) {
    if (!c.use_auxiliary_head) return;
    if (channels.size() < 3)
      throw Error(ErrorCode::bad_config,
                  concat("use_auxiliary_head needs 3 feature maps; the backbone gives ", channels.size()));
    auxiliary_head =
        register_module("auxiliary_head", UperNetFCNHead(c, c.auxiliary_in_channels.value_or(channels[2])));
  }

  static std::vector<int64_t> backbone_channels(const UperNetConfig& c) {
    if (!c.backbone_config)
      throw Error(ErrorCode::bad_config,
                  concat("the backbone '", *c.backbone, "' is only named; give a backbone_config"));
    return dynamic_cast<const BackboneConfig&>(*c.backbone_config).out_channels();
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 4> kArguments = {"pixel_values", "labels", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = inputs["pixel_values"], labels = inputs.tensor("labels");
    const auto base = backbone->forward(inputs.select(backbone->arguments()));
    const auto maps = base.tuple("feature_maps");
    const Tensor logits = like(decode_head->forward(maps), pixels);
    ModelOutput output;
    if (labels.defined()) {
      if (c.num_labels() == 1)
        throw Error(ErrorCode::invalid_value, "the loss needs more than one label; the config has one");
      Tensor loss = segmentation_loss(logits, labels, c.loss_ignore_index);
      if (auxiliary_head) {
        loss = loss + c.auxiliary_loss_weight *
                          segmentation_loss(like(auxiliary_head->forward(maps), pixels), labels, c.loss_ignore_index);
      }
      output.set("loss", loss);
    }
    output.set("logits", logits);
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(upernet, plugin) {
  plugin.config<UperNetConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "SegformerImageProcessor");
  plugin.model<UperNetForSemanticSegmentation>(Auto::ForSemanticSegmentation);
}

}  // namespace backplane::upernet
