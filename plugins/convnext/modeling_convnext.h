// The stages and classes of ConvNeXt over the layer that tells its versions apart: Layer(config, channels, drop_path),
// x [batch, channels, height, width] -> the same. Liu et al. 2022, https://arxiv.org/abs/2201.03545
#pragma once

#include "configuration_convnext.h"

namespace backplane::convnext {

struct ConvNextEmbeddingsImpl : nn::Module {
  int64_t channels;
  nn::Conv2d patch_embeddings;
  nn::LayerNorm2d layernorm;

  template <class Config>
  explicit ConvNextEmbeddingsImpl(const Config& c)
      : channels(c.num_channels),
        patch_embeddings(register_module("patch_embeddings", nn::Conv2d(channels, c.hidden_sizes[0], c.patch_size,
                                                                        nn::Square{.stride = c.patch_size}))),
        layernorm(register_module("layernorm", nn::LayerNorm2d(c.hidden_sizes[0]))) {}

  Tensor forward(const Tensor& pixel_values) {
    check_images(pixel_values, channels);
    return layernorm(patch_embeddings(pixel_values));
  }
};
TORCH_MODULE(ConvNextEmbeddings);

template <class Config, class Layer>
struct ConvNextStageImpl : nn::Module {
  nn::Sequence downsampling_layer{nullptr};
  nn::Layers<Layer> layers{nullptr};

  ConvNextStageImpl(const Config& c, size_t stage, const std::vector<double>& rates) {
    const int64_t out_channels = c.hidden_sizes[stage], in_channels = stage ? c.hidden_sizes[stage - 1] : out_channels;
    if (stage) {
      downsampling_layer = this->register_module(
          "downsampling_layer", nn::Sequence(nn::LayerNorm2d(in_channels),
                                             nn::Conv2d(in_channels, out_channels, 2, nn::Square{.stride = 2})));
    }
    size_t first = 0;
    for (size_t i = 0; i < stage; ++i) first += static_cast<size_t>(c.depths[i]);
    layers = this->register_module("layers", nn::Layers<Layer>(c.depths[stage], [&](int64_t i) {
                                     return Layer(c, out_channels, rates[first + static_cast<size_t>(i)]);
                                   }));
  }

  Tensor forward(Tensor x) {
    if (downsampling_layer) x = downsampling_layer(x);
    for (auto& layer : *layers) x = layer(x);
    return x;
  }
};

template <class Config, class Layer>
struct ConvNextEncoderImpl : nn::Module {
  using Stage = nn::ModuleHolder<ConvNextStageImpl<Config, Layer>>;
  nn::Layers<Stage> stages{nullptr};

  explicit ConvNextEncoderImpl(const Config& c) {
    int64_t layers = 0;
    for (int64_t depth : c.depths) layers += depth;
    const auto rates = linear_rates(c.drop_path_rate, layers);
    stages = this->register_module(
        "stages", nn::Layers<Stage>(c.num_stages, [&](int64_t i) { return Stage(c, static_cast<size_t>(i), rates); }));
  }

  Tensor forward(Tensor x, std::vector<Tensor>* states) {
    if (states) states->push_back(x);
    for (auto& stage : *stages) {
      x = stage->forward(x);
      if (states) states->push_back(x);
    }
    return x;
  }
};

constexpr std::array<std::string_view, 2> kImageArguments = {"pixel_values", "output_hidden_states"};

// `Names` gives kPrefix, the base model's name in classes with a head.
template <class ConfigType, class Names>
struct ConvNextPreTrained : PreTrainedModel {
  using Config = ConfigType;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = Names::kPrefix}; }
};

template <class Config, class Layer, class Names>
struct ConvNextModelOf : ConvNextPreTrained<Config, Names> {
  ConvNextEmbeddings embeddings;
  nn::ModuleHolder<ConvNextEncoderImpl<Config, Layer>> encoder;
  nn::LayerNorm layernorm;

  explicit ConvNextModelOf(const Config& c)
      : ConvNextPreTrained<Config, Names>(c),
        embeddings(this->register_module("embeddings", ConvNextEmbeddings(c))),
        encoder(this->register_module("encoder", nn::ModuleHolder<ConvNextEncoderImpl<Config, Layer>>(c))),
        layernorm(this->register_module("layernorm", nn::LayerNorm(c.hidden_sizes.back(), c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, this->config());
    const Tensor x = encoder->forward(embeddings(inputs.tensor("pixel_values")), trace.states());
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("pooler_output", layernorm(x.mean({2, 3})));
    trace.write(output);
    return output;
  }
};

template <class Model, class Names>
struct ConvNextClassifierOf : ConvNextPreTrained<typename Model::Config, Names> {
  using Config = typename Model::Config;
  std::shared_ptr<Model> base_model;
  nn::Linear classifier{nullptr};

  explicit ConvNextClassifierOf(const Config& c)
      : ConvNextPreTrained<Config, Names>(c),
        base_model(this->register_module(Names::kPrefix, std::make_shared<Model>(c))) {
    if (c.num_labels() > 0)
      classifier = this->register_module("classifier", nn::Linear(c.hidden_sizes.back(), c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = base_model->forward(inputs.select(base_model->arguments()));
    const Tensor x = base["pooler_output"];
    return classifier_output(classifier ? classifier(x) : x, inputs, this->config(), base);
  }
};

template <class Config, class Layer, class Names>
struct ConvNextBackboneOf : ConvNextPreTrained<Config, Names> {
  const Config& c;
  ConvNextEmbeddings embeddings;
  nn::ModuleHolder<ConvNextEncoderImpl<Config, Layer>> encoder;
  std::vector<nn::LayerNorm2d> norms;  // of each stage; empty where its map is not returned

  explicit ConvNextBackboneOf(const Config& config)
      : ConvNextPreTrained<Config, Names>(config),
        c(config),
        embeddings(this->register_module("embeddings", ConvNextEmbeddings(c))),
        encoder(this->register_module("encoder", nn::ModuleHolder<ConvNextEncoderImpl<Config, Layer>>(c))) {
    auto all = this->register_module("hidden_states_norms", std::make_shared<nn::Module>());
    const auto channels = c.stage_channels();
    for (size_t i = 0; i < c.stage_names.size(); ++i) {
      norms.emplace_back(nullptr);
      if (c.returns_stage(i)) norms[i] = all->register_module(c.stage_names[i], nn::LayerNorm2d(channels[i]));
    }
  }

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    std::vector<Tensor> states;
    encoder->forward(embeddings(inputs.tensor("pixel_values")), &states);
    return backbone_output(c, states, Trace(inputs, c), [&](size_t stage, const Tensor& x) { return norms[stage](x); });
  }
};

}  // namespace backplane::convnext
