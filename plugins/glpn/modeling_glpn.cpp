// GLPN: Kim et al. 2022, https://arxiv.org/abs/2201.07436
// SegFormer's encoder, and a decoder that fuses its stages by learned weights into a map of depths. Reference:
// transformers, models/glpn/modeling_glpn.py

#include "../segformer/modeling_segformer.h"
#include "configuration_glpn.h"

namespace backplane::glpn {

static Tensor twice(const Tensor& x) { return resize(x, {2 * x.size(2), 2 * x.size(3)}, Resampling::bilinear); }

struct GLPNPreTrainedModel : PreTrainedModel {
  using Config = GLPNConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "glpn"}; }
};

constexpr std::array<std::string_view, 3> kImageArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct GLPNModel : GLPNPreTrainedModel {
  segformer::SegformerEncoder encoder;

  explicit GLPNModel(const GLPNConfig& c)
      : GLPNPreTrainedModel(c), encoder(register_module("encoder", segformer::SegformerEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    ModelOutput output;
    output.set("last_hidden_state", encoder(inputs.tensor("pixel_values"), true, trace.states(), trace));
    trace.write(output);
    return output;
  }
};

// Two maps, weighed pixel by pixel.
struct GLPNSelectiveFeatureFusionImpl : nn::Module {
  nn::Sequence convolutional_layer1, convolutional_layer2;
  nn::Conv2d convolutional_layer3;

  static nn::Sequence layer(int64_t in, int64_t out) {
    return nn::Sequence(nn::Conv2d(in, out, 3, nn::Square{.padding = 1}), nn::BatchNorm(out), activation("relu"));
  }

  explicit GLPNSelectiveFeatureFusionImpl(int64_t channels)
      : convolutional_layer1(register_module("convolutional_layer1", layer(2 * channels, channels))),
        convolutional_layer2(register_module("convolutional_layer2", layer(channels, channels / 2))),
        convolutional_layer3(
            register_module("convolutional_layer3", nn::Conv2d(channels / 2, 2, 3, nn::Square{.padding = 1}))) {}

  Tensor forward(const Tensor& local, const Tensor& global) {
    const Tensor weights =
        at::sigmoid(convolutional_layer3(convolutional_layer2(convolutional_layer1(at::cat({local, global}, 1)))));
    return local * weights.slice(1, 0, 1) + global * weights.slice(1, 1, 2);
  }
};
TORCH_MODULE(GLPNSelectiveFeatureFusion);

struct GLPNDecoderStageImpl : nn::Module {
  nn::Conv2d convolution{nullptr};
  GLPNSelectiveFeatureFusion fusion{nullptr};

  GLPNDecoderStageImpl(int64_t in, int64_t out, bool fuses) {
    if (in != out) convolution = register_module("convolution", nn::Conv2d(in, out, 1));
    if (fuses) fusion = register_module("fusion", GLPNSelectiveFeatureFusion(out));
  }

  // The stage's map, and what the stages so far gave, undefined for the first -> a map of twice the size
  Tensor forward(const Tensor& x, const Tensor& so_far) {
    const Tensor h = convolution ? convolution(x) : x;
    return twice(fusion ? fusion(h, so_far) : h);
  }
};
TORCH_MODULE(GLPNDecoderStage);

struct GLPNDecoderImpl : nn::Module {
  nn::Layers<GLPNDecoderStage> stages;

  explicit GLPNDecoderImpl(const GLPNConfig& c)
      : stages(register_module("stages", nn::Layers<GLPNDecoderStage>(c.num_encoder_blocks, [&](int64_t i) {
                                 const auto last = static_cast<size_t>(c.num_encoder_blocks - 1 - i);
                                 return GLPNDecoderStage(c.hidden_sizes[last], c.decoder_hidden_size, i > 0);
                               }))) {}

  // The encoder's maps -> those of each stage here, the last of them doubled once more.
  std::vector<Tensor> forward(const std::vector<Tensor>& states) {
    std::vector<Tensor> maps;
    Tensor x;
    for (size_t i = 0; i < stages->size(); ++i) maps.push_back(x = (*stages)[i](states[states.size() - 1 - i], x));
    maps.back() = twice(maps.back());
    return maps;
  }
};
TORCH_MODULE(GLPNDecoder);

struct GLPNDepthEstimationHeadImpl : nn::Module {
  double max_depth;
  nn::Sequence head;

  explicit GLPNDepthEstimationHeadImpl(const GLPNConfig& c)
      : max_depth(c.max_depth),
        head(register_module(
            "head",
            nn::Sequence(nn::Conv2d(c.decoder_hidden_size, c.decoder_hidden_size, 3, nn::Square{.padding = 1}),
                         activation("relu"), nn::Conv2d(c.decoder_hidden_size, 1, 3, nn::Square{.padding = 1})))) {}

  Tensor forward(const Tensor& x) { return (at::sigmoid(head(x)) * max_depth).squeeze(1); }
};
TORCH_MODULE(GLPNDepthEstimationHead);

// Eigen et al. 2014, https://arxiv.org/abs/1406.2283: the error of the logarithm, its mean half forgiven.
static Tensor scale_invariant_loss(const Tensor& depth, const Tensor& target) {
  const Tensor valid = target > 0;
  const Tensor difference = at::log(target.masked_select(valid)) - at::log(depth.masked_select(valid));
  return at::sqrt(difference.square().mean() - 0.5 * difference.mean().square());
}

struct GLPNForDepthEstimation : GLPNPreTrainedModel {
  const GLPNConfig& c;
  std::shared_ptr<GLPNModel> glpn;
  GLPNDecoder decoder;
  GLPNDepthEstimationHead head;

  explicit GLPNForDepthEstimation(const GLPNConfig& config)
      : GLPNPreTrainedModel(config),
        c(config),
        glpn(register_module("glpn", std::make_shared<GLPNModel>(c))),
        decoder(register_module("decoder", GLPNDecoder(c))),
        head(register_module("head", GLPNDepthEstimationHead(c))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> states;
    glpn->encoder(inputs.tensor("pixel_values"), true, &states, trace);
    const auto maps = decoder->forward(states);
    const int64_t place = c.head_in_index < 0 ? c.head_in_index + c.num_encoder_blocks : c.head_in_index;
    const Tensor depth = head(maps.at(static_cast<size_t>(place))), labels = inputs.tensor("labels");
    ModelOutput output;
    if (labels.defined()) output.set("loss", scale_invariant_loss(depth, labels));
    output.set("predicted_depth", depth);
    if (trace.keeps_hidden_states) trace.hidden_states = states;
    trace.write(output);
    return output;
  }
};

BACKPLANE_PLUGIN(glpn, plugin) {
  plugin.config<GLPNConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "GLPNFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "GLPNImageProcessor");
  plugin.model<GLPNModel>(Auto::Model);
  plugin.model<GLPNForDepthEstimation>(Auto::ForDepthEstimation);
}

}  // namespace backplane::glpn
