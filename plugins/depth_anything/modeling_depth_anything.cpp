// Depth Anything: Yang et al. 2024, https://arxiv.org/abs/2401.10891
// Layers of a DINOv2 backbone become maps of four sizes, which convolutions fuse, coarse to fine, into depths; the
// decoder is that of DPT (Ranftl et al. 2021, https://arxiv.org/abs/2103.13413). Reference: transformers,
// models/depth_anything/modeling_depth_anything.py

#include "configuration_depth_anything.h"

namespace backplane::depth_anything {

static nn::Conv2d conv3(int64_t in, int64_t out, bool with_bias = true) {
  return nn::Conv2d(in, out, 3, nn::Square{.padding = 1, .with_bias = with_bias});
}

struct DepthAnythingReassembleLayerImpl : nn::Module {
  nn::Conv2d projection, shrink{nullptr};
  nn::ConvTranspose2d grow{nullptr};

  DepthAnythingReassembleLayerImpl(int64_t in, int64_t out, double factor)
      : projection(register_module("projection", nn::Conv2d(in, out, 1))) {
    if (factor > 1) {
      const auto times = static_cast<int64_t>(factor);
      grow =
          register_module("resize", nn::ConvTranspose2d(out, out, times, nn::ConvOptions<2>{.stride = {times, times}}));
    } else if (factor < 1) {
      shrink = register_module(
          "resize", nn::Conv2d(out, out, 3, nn::Square{.stride = static_cast<int64_t>(1 / factor), .padding = 1}));
    }
  }

  Tensor forward(const Tensor& x) {
    const Tensor h = projection(x);
    return grow ? grow(h) : shrink ? shrink(h) : h;
  }
};
TORCH_MODULE(DepthAnythingReassembleLayer);

struct DepthAnythingReassembleStageImpl : nn::Module {
  nn::Layers<DepthAnythingReassembleLayer> layers;

  explicit DepthAnythingReassembleStageImpl(const DepthAnythingConfig& c)
      : layers(register_module("layers", nn::Layers<DepthAnythingReassembleLayer>(
                                             static_cast<int64_t>(c.neck_hidden_sizes.size()), [&](int64_t i) {
                                               const auto s = static_cast<size_t>(i);
                                               return DepthAnythingReassembleLayer(c.reassemble_hidden_size,
                                                                                   c.neck_hidden_sizes[s],
                                                                                   c.reassemble_factors[s]);
                                             }))) {}
};
TORCH_MODULE(DepthAnythingReassembleStage);

struct DepthAnythingPreActResidualLayerImpl : nn::Module {
  nn::Conv2d convolution1, convolution2;

  explicit DepthAnythingPreActResidualLayerImpl(int64_t size)
      : convolution1(register_module("convolution1", conv3(size, size))),
        convolution2(register_module("convolution2", conv3(size, size))) {}

  Tensor forward(const Tensor& x) { return x + convolution2(at::relu(convolution1(at::relu(x)))); }
};
TORCH_MODULE(DepthAnythingPreActResidualLayer);

struct DepthAnythingFeatureFusionLayerImpl : nn::Module {
  nn::Conv2d projection;
  DepthAnythingPreActResidualLayer residual_layer1, residual_layer2;

  explicit DepthAnythingFeatureFusionLayerImpl(int64_t size)
      : projection(register_module("projection", nn::Conv2d(size, size, 1))),
        residual_layer1(register_module("residual_layer1", DepthAnythingPreActResidualLayer(size))),
        residual_layer2(register_module("residual_layer2", DepthAnythingPreActResidualLayer(size))) {}

  // x [batch, fusion, h, w], finer: the next map or undefined -> [batch, fusion, size]
  Tensor forward(Tensor x, const Tensor& finer, Size2 size) {
    if (finer.defined()) x = x + residual_layer1(resize(finer, {x.size(2), x.size(3)}, Resampling::bilinear));
    return projection(resize(residual_layer2(x), size, Resampling::bilinear, true));
  }
};
TORCH_MODULE(DepthAnythingFeatureFusionLayer);

struct DepthAnythingFeatureFusionStageImpl : nn::Module {
  nn::Layers<DepthAnythingFeatureFusionLayer> layers;

  explicit DepthAnythingFeatureFusionStageImpl(const DepthAnythingConfig& c)
      : layers(register_module("layers", nn::Layers<DepthAnythingFeatureFusionLayer>(
                                             static_cast<int64_t>(c.neck_hidden_sizes.size()), [&](int64_t) {
                                               return DepthAnythingFeatureFusionLayer(c.fusion_hidden_size);
                                             }))) {}

  // The finest map first -> the fused maps, the coarsest first
  std::vector<Tensor> forward(const std::vector<Tensor>& maps) {
    std::vector<Tensor> fused;
    for (size_t i = 0; i < maps.size(); ++i) {
      const Tensor& map = maps[maps.size() - 1 - i];
      const Tensor x = i ? fused.back() : map;
      Size2 size = {2 * x.size(2), 2 * x.size(3)};
      if (i + 1 < maps.size()) {
        const Tensor& next = maps[maps.size() - 2 - i];
        size = {next.size(2), next.size(3)};
      }
      fused.push_back((*layers)[i](x, i ? map : Tensor(), size));
    }
    return fused;
  }
};
TORCH_MODULE(DepthAnythingFeatureFusionStage);

struct DepthAnythingNeckImpl : nn::Module {
  DepthAnythingReassembleStage reassemble_stage;
  nn::Layers<nn::Conv2d> convs;
  DepthAnythingFeatureFusionStage fusion_stage;

  explicit DepthAnythingNeckImpl(const DepthAnythingConfig& c)
      : reassemble_stage(register_module("reassemble_stage", DepthAnythingReassembleStage(c))),
        convs(register_module("convs", nn::Layers<nn::Conv2d>(static_cast<int64_t>(c.neck_hidden_sizes.size()),
                                                              [&](int64_t i) {
                                                                return conv3(
                                                                    c.neck_hidden_sizes[static_cast<size_t>(i)],
                                                                    c.fusion_hidden_size, false);
                                                              }))),
        fusion_stage(register_module("fusion_stage", DepthAnythingFeatureFusionStage(c))) {}

  // Tokens [batch, 1 + patches, hidden] of each layer
  std::vector<Tensor> forward(const std::vector<Tensor>& states, Size2 grid) {
    std::vector<Tensor> maps;
    for (size_t i = 0; i < states.size(); ++i) {
      const Tensor map = tokens_to_map(states[i].slice(1, 1), grid);
      maps.push_back((*convs)[i]((*reassemble_stage->layers)[i](map)));
    }
    return fusion_stage->forward(maps);
  }
};
TORCH_MODULE(DepthAnythingNeck);

struct DepthAnythingDepthEstimationHeadImpl : nn::Module {
  int64_t patch;
  bool relative;
  double max_depth;
  nn::Conv2d conv1, conv2, conv3;

  explicit DepthAnythingDepthEstimationHeadImpl(const DepthAnythingConfig& c)
      : patch(c.patch_size),
        relative(c.depth_estimation_type == "relative"),
        max_depth(*c.max_depth),
        conv1(register_module("conv1", depth_anything::conv3(c.fusion_hidden_size, c.fusion_hidden_size / 2))),
        conv2(register_module("conv2", depth_anything::conv3(c.fusion_hidden_size / 2, c.head_hidden_size))),
        conv3(register_module("conv3", nn::Conv2d(c.head_hidden_size, 1, 1))) {}

  // -> [batch, height, width] of whole patches
  Tensor forward(const Tensor& x, Size2 grid) {
    const Tensor wide = resize(conv1(x), {grid[0] * patch, grid[1] * patch}, Resampling::bilinear, true);
    const Tensor depth = conv3(at::relu(conv2(wide)));
    return ((relative ? at::relu(depth) : at::sigmoid(depth)) * max_depth).squeeze(1);
  }
};
TORCH_MODULE(DepthAnythingDepthEstimationHead);

struct DepthAnythingForDepthEstimation : PreTrainedModel {
  static constexpr bool supports_sdpa = false;
  using Config = DepthAnythingConfig;
  const DepthAnythingConfig& c;
  std::shared_ptr<PreTrainedModel> backbone;
  DepthAnythingNeck neck;
  DepthAnythingDepthEstimationHead head;

  explicit DepthAnythingForDepthEstimation(const DepthAnythingConfig& config)
      : PreTrainedModel(config),
        c(config),
        backbone(register_module("backbone", make_backbone(c))),
        neck(register_module("neck", DepthAnythingNeck(c))),
        head(register_module("head", DepthAnythingDepthEstimationHead(c))) {}

  static std::shared_ptr<PreTrainedModel> make_backbone(const DepthAnythingConfig& c) {
    if (!c.backbone_config)
      throw Error(ErrorCode::bad_config,
                  concat("the backbone '", *c.backbone, "' is only named; give a backbone_config"));
    const auto channels = dynamic_cast<const BackboneConfig&>(*c.backbone_config).out_channels();
    if (channels.size() != c.neck_hidden_sizes.size()) {
      throw Error(ErrorCode::bad_config, concat("the backbone gives ", channels.size(),
                                                " feature maps; neck_hidden_sizes has ", c.neck_hidden_sizes.size()));
    }
    return make_model(Auto::Backbone, *c.backbone_config);
  }

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "depth_anything"}; }

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 3> kArguments = {"pixel_values", "output_hidden_states",
                                                                   "output_attentions"};
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = inputs["pixel_values"];
    const auto base = backbone->forward(inputs);
    const Size2 grid = {pixels.size(2) / c.patch_size, pixels.size(3) / c.patch_size};
    const auto fused = neck->forward(base.tuple("feature_maps"), grid);
    const int64_t place = c.head_in_index < 0 ? c.head_in_index + static_cast<int64_t>(fused.size()) : c.head_in_index;
    ModelOutput output;
    output.set("predicted_depth", head(fused.at(static_cast<size_t>(place)), grid));
    output.pass_on(base);
    return output;
  }
};

BACKPLANE_PLUGIN(depth_anything, plugin) {
  plugin.config<DepthAnythingConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "DPTImageProcessor", "DPTImageProcessorFast");
  plugin.model<DepthAnythingForDepthEstimation>(Auto::ForDepthEstimation);
}

}  // namespace backplane::depth_anything
