// PVT v2: Wang et al. 2021, https://arxiv.org/abs/2106.13797
// A hierarchical transformer over overlapping patches, without position embeddings: a depthwise convolution in each
// feed-forward part tells places apart. Keys and values come from a smaller map, or from a pooled one of 7 x 7 (linear
// attention). Reference: transformers, models/pvt_v2/modeling_pvt_v2.py

#include "configuration_pvt_v2.h"

namespace backplane::pvt_v2 {

struct PvtV2OverlapPatchEmbeddingsImpl : nn::Module {
  nn::Conv2d proj;
  nn::LayerNorm layer_norm;

  PvtV2OverlapPatchEmbeddingsImpl(const PvtV2Config& c, size_t stage)
      : proj(register_module(
            "proj",
            nn::Conv2d(stage ? c.hidden_sizes[stage - 1] : c.num_channels, c.hidden_sizes[stage], c.patch_sizes[stage],
                       nn::Square{.stride = c.strides[stage], .padding = c.patch_sizes[stage] / 2}))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))) {}

  // The tokens, and how many rows and columns they are.
  std::pair<Tensor, Size2> forward(const Tensor& x) {
    const Tensor map = proj(x);
    return {layer_norm(map_to_tokens(map)), {map.size(2), map.size(3)}};
  }
};
TORCH_MODULE(PvtV2OverlapPatchEmbeddings);

struct PvtV2SelfAttentionImpl : nn::Module {
  static constexpr int64_t kPooled = 7;
  int64_t heads;
  bool is_linear;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value, proj;
  nn::Dropout proj_drop;
  nn::Conv2d spatial_reduction{nullptr};
  nn::LayerNorm layer_norm{nullptr};

  PvtV2SelfAttentionImpl(const PvtV2Config& c, size_t stage)
      : heads(c.num_attention_heads[stage]),
        is_linear(c.linear_attention),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage], c.qkv_bias))),
        key(register_module("key", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage], c.qkv_bias))),
        value(register_module("value", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage], c.qkv_bias))),
        proj(register_module("proj", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage]))),
        proj_drop(register_module("proj_drop", nn::Dropout(c.hidden_dropout_prob))) {
    const int64_t hidden = c.hidden_sizes[stage], ratio = is_linear ? 1 : c.sr_ratios[stage];
    if (is_linear || ratio > 1) {
      spatial_reduction =
          register_module("spatial_reduction", nn::Conv2d(hidden, hidden, ratio, nn::Square{.stride = ratio}));
      layer_norm = register_module("layer_norm", nn::LayerNorm(hidden, c.layer_norm_eps));
    }
  }

  Tensor forward(const Tensor& x, Size2 size, Trace& trace) {
    Tensor seen = x;
    if (spatial_reduction) {
      Tensor map = tokens_to_map(x, size);
      if (is_linear) map = at::adaptive_avg_pool2d(map, {kPooled, kPooled});
      seen = layer_norm(map_to_tokens(spatial_reduction(map)));
      if (is_linear) seen = at::gelu(seen);
    }
    const Tensor y = attention(
        split_heads(query(x), heads), split_heads(key(seen), heads), split_heads(value(seen), heads),
        {.dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = trace.next_attention()});
    return proj_drop(proj(merge_heads(y)));
  }
};
TORCH_MODULE(PvtV2SelfAttention);

struct PvtV2DepthWiseConvImpl : nn::Module {
  nn::Conv2d dwconv;

  explicit PvtV2DepthWiseConvImpl(int64_t dim)
      : dwconv(register_module("dwconv", nn::Conv2d(dim, dim, 3, nn::Square{.padding = 1, .groups = dim}))) {}

  Tensor forward(const Tensor& x, Size2 size) { return map_to_tokens(dwconv(tokens_to_map(x, size))); }
};
TORCH_MODULE(PvtV2DepthWiseConv);

struct PvtV2ConvFeedForwardNetworkImpl : nn::Module {
  bool is_linear;
  nn::Linear dense1, dense2;
  PvtV2DepthWiseConv dwconv;
  Activation act;
  nn::Dropout dropout;

  PvtV2ConvFeedForwardNetworkImpl(const PvtV2Config& c, int64_t hidden, int64_t intermediate)
      : is_linear(c.linear_attention),
        dense1(register_module("dense1", nn::Linear(hidden, intermediate))),
        dense2(register_module("dense2", nn::Linear(intermediate, hidden))),
        dwconv(register_module("dwconv", PvtV2DepthWiseConv(intermediate))),
        act(activation(c.hidden_act)),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, Size2 size) {
    const Tensor h = dense1(x);
    return dropout(dense2(dropout(act(dwconv(is_linear ? at::relu(h) : h, size)))));
  }
};
TORCH_MODULE(PvtV2ConvFeedForwardNetwork);

struct PvtV2BlockLayerImpl : nn::Module {
  nn::LayerNorm layer_norm_1, layer_norm_2;
  PvtV2SelfAttention attention;
  nn::DropPath drop_path;
  PvtV2ConvFeedForwardNetwork mlp;

  PvtV2BlockLayerImpl(const PvtV2Config& c, size_t stage, double drop)
      : layer_norm_1(register_module("layer_norm_1", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))),
        layer_norm_2(register_module("layer_norm_2", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))),
        attention(register_module("attention", PvtV2SelfAttention(c, stage))),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        mlp(register_module(
            "mlp", PvtV2ConvFeedForwardNetwork(
                       c, c.hidden_sizes[stage],
                       static_cast<int64_t>(static_cast<double>(c.hidden_sizes[stage]) * c.mlp_ratios[stage])))) {}

  Tensor forward(Tensor x, Size2 size, Trace& trace) {
    x = x + drop_path(attention(layer_norm_1(x), size, trace));
    return x + drop_path(mlp(layer_norm_2(x), size));
  }
};
TORCH_MODULE(PvtV2BlockLayer);

struct PvtV2EncoderLayerImpl : nn::Module {
  PvtV2OverlapPatchEmbeddings patch_embedding;
  nn::Layers<PvtV2BlockLayer> blocks{nullptr};
  nn::LayerNorm layer_norm;

  PvtV2EncoderLayerImpl(const PvtV2Config& c, size_t stage, const std::vector<double>& rates)
      : patch_embedding(register_module("patch_embedding", PvtV2OverlapPatchEmbeddings(c, stage))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))) {
    size_t first = 0;
    for (size_t i = 0; i < stage; ++i) first += static_cast<size_t>(c.depths[i]);
    blocks = register_module("blocks", nn::Layers<PvtV2BlockLayer>(c.depths[stage], [&](int64_t i) {
                               return PvtV2BlockLayer(c, stage, rates[first + static_cast<size_t>(i)]);
                             }));
  }

  // [batch, channels, height, width] -> the stage's map
  Tensor forward(const Tensor& map, Trace& trace) {
    auto [x, size] = patch_embedding->forward(map);
    for (auto& block : *blocks) x = block(x, size, trace);
    return tokens_to_map(layer_norm(x), size);
  }
};
TORCH_MODULE(PvtV2EncoderLayer);

struct PvtV2EncoderImpl : nn::Module {
  int64_t channels;
  nn::Layers<PvtV2EncoderLayer> layers{nullptr};

  explicit PvtV2EncoderImpl(const PvtV2Config& c) : channels(c.num_channels) {
    int64_t count = 0;
    for (int64_t depth : c.depths) count += depth;
    const auto rates = linear_rates(c.drop_path_rate, count);
    layers = register_module("layers", nn::Layers<PvtV2EncoderLayer>(c.num_encoder_blocks, [&](int64_t i) {
                               return PvtV2EncoderLayer(c, static_cast<size_t>(i), rates);
                             }));
  }

  Tensor forward(const Tensor& pixel_values, std::vector<Tensor>* states, Trace& trace) {
    check_images(pixel_values, channels);
    Tensor x = pixel_values;
    for (auto& layer : *layers) {
      x = layer(x, trace);
      if (states) states->push_back(x);
    }
    return x;
  }
};
TORCH_MODULE(PvtV2Encoder);

struct PvtV2PreTrainedModel : PreTrainedModel {
  using Config = PvtV2Config;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "pvt_v2"}; }
};

constexpr std::array<std::string_view, 3> kImageArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct PvtV2Model : PvtV2PreTrainedModel {
  PvtV2Encoder encoder;

  explicit PvtV2Model(const PvtV2Config& c)
      : PvtV2PreTrainedModel(c), encoder(register_module("encoder", PvtV2Encoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    ModelOutput output;
    output.set("last_hidden_state", encoder(inputs.tensor("pixel_values"), trace.states(), trace));
    trace.write(output);
    return output;
  }
};

struct PvtV2ForImageClassification : PvtV2PreTrainedModel {
  std::shared_ptr<PvtV2Model> pvt_v2;
  nn::Linear classifier{nullptr};

  explicit PvtV2ForImageClassification(const PvtV2Config& c)
      : PvtV2PreTrainedModel(c), pvt_v2(register_module("pvt_v2", std::make_shared<PvtV2Model>(c))) {
    if (c.num_labels() > 0)
      classifier = register_module("classifier", nn::Linear(c.hidden_sizes.back(), c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = pvt_v2->forward(inputs.select(kImageArguments));
    const Tensor x = base["last_hidden_state"].mean({2, 3});
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

struct PvtV2Backbone : PvtV2PreTrainedModel {
  const PvtV2Config& c;
  PvtV2Encoder encoder;

  explicit PvtV2Backbone(const PvtV2Config& config)
      : PvtV2PreTrainedModel(config), c(config), encoder(register_module("encoder", PvtV2Encoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, c);
    std::vector<Tensor> states;
    encoder(inputs.tensor("pixel_values"), &states, trace);
    trace.attentions.clear();
    return backbone_output(c, states, trace, [](size_t, const Tensor& x) { return x; });
  }
};

BACKPLANE_PLUGIN(pvt_v2, plugin) {
  plugin.config<PvtV2Config>();
  plugin.preprocessor(Auto::ImageProcessor, "PvtImageProcessor", "PvtImageProcessorFast");
  plugin.model<PvtV2Model>(Auto::Model);
  plugin.model<PvtV2ForImageClassification>(Auto::ForImageClassification);
  plugin.model<PvtV2Backbone>(Auto::Backbone);
}

}  // namespace backplane::pvt_v2
