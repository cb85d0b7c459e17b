// PoolFormer: Yu et al. 2021, https://arxiv.org/abs/2111.11418
// The shape of a transformer with average pooling in attention's place. Reference: transformers,
// models/poolformer/modeling_poolformer.py

#include "configuration_poolformer.h"

namespace backplane::poolformer {

struct PoolFormerEmbeddingsImpl : nn::Module {
  nn::Conv2d projection;

  PoolFormerEmbeddingsImpl(int64_t in, int64_t out, int64_t patch, int64_t stride, int64_t padding)
      : projection(register_module("projection",
                                   nn::Conv2d(in, out, patch, nn::Square{.stride = stride, .padding = padding}))) {}

  Tensor forward(const Tensor& x) { return projection(x); }
};
TORCH_MODULE(PoolFormerEmbeddings);

struct PoolFormerOutputImpl : nn::Module {
  nn::Conv2d conv1, conv2;
  nn::DropPath drop;
  Activation act;

  PoolFormerOutputImpl(int64_t hidden, int64_t intermediate, const std::string& act, double drop)
      : conv1(register_module("conv1", nn::Conv2d(hidden, intermediate, 1))),
        conv2(register_module("conv2", nn::Conv2d(intermediate, hidden, 1))),
        drop(register_module("drop", nn::DropPath(drop))),
        act(activation(act)) {}

  Tensor forward(const Tensor& x) { return drop(conv2(drop(act(conv1(x))))); }
};
TORCH_MODULE(PoolFormerOutput);

struct PoolFormerLayerImpl : nn::Module {
  int64_t pool;
  PoolFormerOutput output;
  nn::GroupNorm before_norm, after_norm;
  nn::DropPath drop_path;
  Tensor layer_scale_1, layer_scale_2;

  PoolFormerLayerImpl(const PoolFormerConfig& c, int64_t hidden, double drop)
      : pool(c.pool_size),
        output(register_module("output",
                               PoolFormerOutput(hidden, static_cast<int64_t>(static_cast<double>(hidden) * c.mlp_ratio),
                                                c.hidden_act, drop))),
        before_norm(register_module("before_norm", nn::GroupNorm(1, hidden))),
        after_norm(register_module("after_norm", nn::GroupNorm(1, hidden))),
        drop_path(register_module("drop_path", nn::DropPath(drop))) {
    if (c.use_layer_scale) {
      layer_scale_1 = register_parameter("layer_scale_1", nn::parameter({hidden}));
      layer_scale_2 = register_parameter("layer_scale_2", nn::parameter({hidden}));
    }
  }

  Tensor forward(Tensor x) {
    const auto scaled = [](const Tensor& h, const Tensor& scale) {
      return scale.defined() ? h * scale.view({-1, 1, 1}) : h;
    };
    const Tensor h = before_norm(x);
    const Tensor pooled = at::avg_pool2d(h, pool, 1, pool / 2, false, false) - h;
    x = x + drop_path(scaled(pooled, layer_scale_1));
    return x + drop_path(scaled(output(after_norm(x)), layer_scale_2));
  }
};
TORCH_MODULE(PoolFormerLayer);

struct PoolFormerEncoderImpl : nn::Module {
  nn::Layers<PoolFormerEmbeddings> patch_embeddings{nullptr};
  nn::Layers<nn::Layers<PoolFormerLayer>> block{nullptr};

  explicit PoolFormerEncoderImpl(const PoolFormerConfig& c) {
    const auto at = [](int64_t i) { return static_cast<size_t>(i); };
    patch_embeddings = register_module(
        "patch_embeddings", nn::Layers<PoolFormerEmbeddings>(c.num_encoder_blocks, [&](int64_t i) {
          return PoolFormerEmbeddings(i ? c.hidden_sizes[at(i) - 1] : c.num_channels, c.hidden_sizes[at(i)],
                                      c.patch_sizes[at(i)], c.strides[at(i)], c.padding[at(i)]);
        }));
    int64_t count = 0;
    size_t layer = 0;
    for (int64_t depth : c.depths) count += depth;
    const auto rates = linear_rates(c.drop_path_rate, count);
    block = register_module("block", nn::Layers<nn::Layers<PoolFormerLayer>>(c.num_encoder_blocks, [&](int64_t i) {
                              return nn::Layers<PoolFormerLayer>(c.depths[at(i)], [&](int64_t) {
                                return PoolFormerLayer(c, c.hidden_sizes[at(i)], rates[layer++]);
                              });
                            }));
  }

  Tensor forward(Tensor x, Trace& trace) {
    for (size_t i = 0; i < patch_embeddings->size(); ++i) {
      x = (*patch_embeddings)[i](x);
      for (auto& layer : *(*block)[i]) x = layer(x);
      trace.hidden_state(x);
    }
    return x;
  }
};
TORCH_MODULE(PoolFormerEncoder);

struct PoolFormerPreTrainedModel : PreTrainedModel {
  using Config = PoolFormerConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "poolformer"}; }
};

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

struct PoolFormerModel : PoolFormerPreTrainedModel {
  const PoolFormerConfig& c;
  PoolFormerEncoder encoder;

  explicit PoolFormerModel(const PoolFormerConfig& config)
      : PoolFormerPreTrainedModel(config), c(config), encoder(register_module("encoder", PoolFormerEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, c.num_channels);
    ModelOutput output;
    output.set("last_hidden_state", encoder(pixels, trace));
    trace.write(output);
    return output;
  }
};

struct PoolFormerForImageClassification : PoolFormerPreTrainedModel {
  std::shared_ptr<PoolFormerModel> poolformer;
  nn::GroupNorm norm;
  nn::Linear classifier{nullptr};

  explicit PoolFormerForImageClassification(const PoolFormerConfig& c)
      : PoolFormerPreTrainedModel(c),
        poolformer(register_module("poolformer", std::make_shared<PoolFormerModel>(c))),
        norm(register_module("norm", nn::GroupNorm(1, c.hidden_sizes.back()))) {
    if (c.num_labels() > 0)
      classifier = register_module("classifier", nn::Linear(c.hidden_sizes.back(), c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = poolformer->forward(inputs.select(kImageArguments));
    const Tensor x = norm(base["last_hidden_state"]).mean({2, 3});
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(poolformer, plugin) {
  plugin.config<PoolFormerConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "PoolFormerFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "PoolFormerImageProcessor", "PoolFormerImageProcessorFast");
  plugin.model<PoolFormerModel>(Auto::Model);
  plugin.model<PoolFormerForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::poolformer
