// PVT: Wang et al. 2021, https://arxiv.org/abs/2102.12122
// A hierarchical transformer whose keys and values come from a smaller map; a class token joins in the last stage.
// Reference: transformers, models/pvt/modeling_pvt.py

#include "configuration_pvt.h"

namespace backplane::pvt {

struct PvtPatchEmbeddingsImpl : nn::Module {
  Tensor position_embeddings, cls_token;
  nn::Conv2d projection;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;

  // The kernel is the config's stride and the stride its patch size, as the reference has it.
  PvtPatchEmbeddingsImpl(const PvtConfig& c, size_t stage, bool is_last)
      : projection(register_module("projection",
                                   nn::Conv2d(stage ? c.hidden_sizes[stage - 1] : c.num_channels, c.hidden_sizes[stage],
                                              c.strides[stage], nn::Square{.stride = c.patch_sizes[stage]}))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {
    const int64_t hidden = c.hidden_sizes[stage], size = stage ? c.image_size >> (stage + 1) : c.image_size,
                  side = size / c.patch_sizes[stage];
    position_embeddings =
        register_parameter("position_embeddings", nn::parameter({1, side * side + (is_last ? 1 : 0), hidden}));
    if (is_last) cls_token = register_parameter("cls_token", nn::parameter({1, 1, hidden}));
  }

  // The tokens, and how many rows and columns they are.
  std::pair<Tensor, Size2> forward(const Tensor& map) {
    const Tensor patches = projection(map);
    Tensor x = layer_norm(map_to_tokens(patches));
    if (cls_token.defined()) x = at::cat({cls_token.expand({x.size(0), -1, -1}), x}, 1);
    if (x.size(1) != position_embeddings.size(1)) {
      throw Error(ErrorCode::invalid_value,
                  concat("a map of ", patches.size(2), " x ", patches.size(3), " patches does not fit the model's ",
                         position_embeddings.size(1), " positions; give images of image_size"));
    }
    return {dropout(x + position_embeddings), {patches.size(2), patches.size(3)}};
  }
};
TORCH_MODULE(PvtPatchEmbeddings);

struct PvtEfficientSelfAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear query, key, value;
  nn::Conv2d sequence_reduction{nullptr};
  nn::LayerNorm layer_norm{nullptr};

  PvtEfficientSelfAttentionImpl(const PvtConfig& c, size_t stage)
      : heads(c.num_attention_heads[stage]),
        dropout(c.attention_probs_dropout_prob),
        implementation(c.attn_implementation),
        query(register_module("query", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage], c.qkv_bias))),
        key(register_module("key", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage], c.qkv_bias))),
        value(register_module("value", nn::Linear(c.hidden_sizes[stage], c.hidden_sizes[stage], c.qkv_bias))) {
    if (const int64_t ratio = c.sequence_reduction_ratios[stage]; ratio > 1) {
      const int64_t hidden = c.hidden_sizes[stage];
      sequence_reduction =
          register_module("sequence_reduction", nn::Conv2d(hidden, hidden, ratio, nn::Square{.stride = ratio}));
      layer_norm = register_module("layer_norm", nn::LayerNorm(hidden, c.layer_norm_eps));
    }
  }

  Tensor forward(const Tensor& x, Size2 size, Trace& trace) {
    if (sequence_reduction && x.size(1) != size[0] * size[1]) {
      throw Error(ErrorCode::bad_config, "config.json: sequence_reduction_ratios of the last stage must be 1");
    }
    const Tensor seen = sequence_reduction ? layer_norm(map_to_tokens(sequence_reduction(tokens_to_map(x, size)))) : x;
    return merge_heads(attention(
        split_heads(query(x), heads), split_heads(key(seen), heads), split_heads(value(seen), heads),
        {.dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = trace.next_attention()}));
  }
};
TORCH_MODULE(PvtEfficientSelfAttention);

struct PvtSelfOutputImpl : nn::Module {
  nn::Linear dense;
  nn::Dropout dropout;

  PvtSelfOutputImpl(int64_t hidden, double drop)
      : dense(register_module("dense", nn::Linear(hidden, hidden))),
        dropout(register_module("dropout", nn::Dropout(drop))) {}

  Tensor forward(const Tensor& x) { return dropout(dense(x)); }
};
TORCH_MODULE(PvtSelfOutput);

struct PvtAttentionImpl : nn::Module {
  PvtEfficientSelfAttention self;
  PvtSelfOutput output;

  PvtAttentionImpl(const PvtConfig& c, size_t stage)
      : self(register_module("self", PvtEfficientSelfAttention(c, stage))),
        output(register_module("output", PvtSelfOutput(c.hidden_sizes[stage], c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x, Size2 size, Trace& trace) { return output(self(x, size, trace)); }
};
TORCH_MODULE(PvtAttention);

struct PvtFFNImpl : nn::Module {
  nn::Linear dense1, dense2;
  Activation act;
  nn::Dropout dropout;

  PvtFFNImpl(const PvtConfig& c, int64_t hidden, int64_t intermediate)
      : dense1(register_module("dense1", nn::Linear(hidden, intermediate))),
        dense2(register_module("dense2", nn::Linear(intermediate, hidden))),
        act(activation(c.hidden_act)),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout_prob))) {}

  Tensor forward(const Tensor& x) { return dropout(dense2(dropout(act(dense1(x))))); }
};
TORCH_MODULE(PvtFFN);

struct PvtLayerImpl : nn::Module {
  nn::LayerNorm layer_norm_1, layer_norm_2;
  PvtAttention attention;
  nn::DropPath drop_path;
  PvtFFN mlp;

  PvtLayerImpl(const PvtConfig& c, size_t stage, double drop)
      : layer_norm_1(register_module("layer_norm_1", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))),
        layer_norm_2(register_module("layer_norm_2", nn::LayerNorm(c.hidden_sizes[stage], c.layer_norm_eps))),
        attention(register_module("attention", PvtAttention(c, stage))),
        drop_path(register_module("drop_path", nn::DropPath(drop))),
        mlp(register_module(
            "mlp", PvtFFN(c, c.hidden_sizes[stage],
                          static_cast<int64_t>(static_cast<double>(c.hidden_sizes[stage]) * c.mlp_ratios[stage])))) {}

  Tensor forward(Tensor x, Size2 size, Trace& trace) {
    x = x + drop_path(attention(layer_norm_1(x), size, trace));
    return x + drop_path(mlp(layer_norm_2(x)));
  }
};
TORCH_MODULE(PvtLayer);

struct PvtEncoderImpl : nn::Module {
  int64_t channels;
  nn::Layers<PvtPatchEmbeddings> patch_embeddings{nullptr};
  nn::Layers<nn::Layers<PvtLayer>> block{nullptr};
  nn::LayerNorm layer_norm;

  explicit PvtEncoderImpl(const PvtConfig& c)
      : channels(c.num_channels),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_sizes.back(), c.layer_norm_eps))) {
    patch_embeddings =
        register_module("patch_embeddings", nn::Layers<PvtPatchEmbeddings>(c.num_encoder_blocks, [&](int64_t i) {
                          return PvtPatchEmbeddings(c, static_cast<size_t>(i), i + 1 == c.num_encoder_blocks);
                        }));
    int64_t count = 0;
    size_t layer = 0;
    for (int64_t depth : c.depths) count += depth;
    const auto rates = linear_rates(c.drop_path_rate, count);
    block = register_module("block", nn::Layers<nn::Layers<PvtLayer>>(c.num_encoder_blocks, [&](int64_t i) {
                              const auto stage = static_cast<size_t>(i);
                              return nn::Layers<PvtLayer>(c.depths[stage],
                                                          [&](int64_t) { return PvtLayer(c, stage, rates[layer++]); });
                            }));
  }

  Tensor forward(const Tensor& pixel_values, Trace& trace) {
    check_images(pixel_values, channels);
    Tensor x = pixel_values;
    for (size_t i = 0; i < patch_embeddings->size(); ++i) {
      const auto [tokens, size] = (*patch_embeddings)[i]->forward(x);
      x = tokens;
      for (auto& layer : *(*block)[i]) {
        x = layer(x, size, trace);
        trace.hidden_state(x);
      }
      if (i + 1 < patch_embeddings->size()) x = tokens_to_map(x, size);
    }
    x = layer_norm(x);
    trace.hidden_state(x);
    return x;
  }
};
TORCH_MODULE(PvtEncoder);

struct PvtPreTrainedModel : PreTrainedModel {
  using Config = PvtConfig;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "pvt"}; }
};

constexpr std::array<std::string_view, 3> kImageArguments = {"pixel_values", "output_hidden_states",
                                                             "output_attentions"};

struct PvtModel : PvtPreTrainedModel {
  PvtEncoder encoder;

  explicit PvtModel(const PvtConfig& c) : PvtPreTrainedModel(c), encoder(register_module("encoder", PvtEncoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    Trace trace(inputs, config());
    ModelOutput output;
    output.set("last_hidden_state", encoder(inputs.tensor("pixel_values"), trace));
    trace.write(output);
    return output;
  }
};

struct PvtForImageClassification : PvtPreTrainedModel {
  std::shared_ptr<PvtModel> pvt;
  nn::Linear classifier{nullptr};

  explicit PvtForImageClassification(const PvtConfig& c)
      : PvtPreTrainedModel(c), pvt(register_module("pvt", std::make_shared<PvtModel>(c))) {
    if (c.num_labels() > 0)
      classifier = register_module("classifier", nn::Linear(c.hidden_sizes.back(), c.num_labels()));
  }

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kArguments = extend(kImageArguments, "labels");
    return kArguments;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = pvt->forward(inputs.select(kImageArguments));
    const Tensor x = base["last_hidden_state"].select(1, 0);
    return classifier_output(classifier ? classifier(x) : x, inputs, config(), base);
  }
};

BACKPLANE_PLUGIN(pvt, plugin) {
  plugin.config<PvtConfig>();
  plugin.preprocessor(Auto::ImageProcessor, "PvtImageProcessor", "PvtImageProcessorFast");
  plugin.model<PvtModel>(Auto::Model);
  plugin.model<PvtForImageClassification>(Auto::ForImageClassification);
}

}  // namespace backplane::pvt
