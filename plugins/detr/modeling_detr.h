// The parts of DETR that its kin share: backbone with positions, encoder and decoder around replaceable layers, and the
// object detector over them. Carion et al. 2020, https://arxiv.org/abs/2005.12872
#pragma once

#include <backplane/nn/detection.h>

#include "configuration_detr.h"
#include "timm_resnet.h"

namespace backplane::detr {

// The backbone, whose batch norms are frozen: a model of its own, or timm's ResNet.
struct DetrConvEncoderImpl : nn::Module {
  std::shared_ptr<PreTrainedModel> model;
  TimmResNet timm{nullptr};
  std::vector<int64_t> channels;  // of each feature map

  explicit DetrConvEncoderImpl(const DetrFamilyConfig& c) {
    nn::FrozenBatchNorms frozen;
    if (c.use_timm_backbone) {
      timm = register_module(
          "model", make_timm_resnet(c.backbone, c.num_channels, c.backbone_kwargs, c.dilation.value_or(false)));
      channels = timm->channels;
    } else {
      if (!c.backbone_config)
        throw Error(ErrorCode::bad_config, "backbone_config is missing, and the backbone is not to come from timm");
      model = register_module("model", make_model(Auto::Backbone, *c.backbone_config));
      channels = dynamic_cast<const BackboneConfig&>(*c.backbone_config).out_channels();
    }
  }

  // pixel_values [batch, channels, height, width] -> feature maps, the coarsest last
  std::vector<Tensor> forward(const Tensor& pixel_values) {
    if (timm) return timm->forward(pixel_values);
    return model->forward({{"pixel_values", pixel_values}}).tuple("feature_maps");
  }
};
TORCH_MODULE(DetrConvEncoder);

struct Feature {
  Tensor map;        // [batch, channels, height, width]
  Tensor mask;       // [batch, height, width], true where a pixel counts
  Tensor positions;  // [batch, d_model, height, width]
};

struct DetrConvModelImpl : nn::Module {
  int64_t features;
  DetrConvEncoder conv_encoder;
  nn::LearnedPositions position_embedding{nullptr};

  explicit DetrConvModelImpl(const DetrFamilyConfig& c)
      : features(c.d_model / 2), conv_encoder(register_module("conv_encoder", DetrConvEncoder(c))) {
    if (c.position_embedding_type == "learned")
      position_embedding = register_module("position_embedding", nn::LearnedPositions(features));
  }

  std::vector<Feature> forward(const Tensor& pixel_values, const Tensor& pixel_mask) {
    std::vector<Feature> all;
    for (const Tensor& map : conv_encoder->forward(pixel_values)) {
      Feature& feature = all.emplace_back();
      feature.map = map;
      feature.mask = resize_mask(pixel_mask, map.size(2), map.size(3));
      feature.positions = position_embedding
                              ? position_embedding(map.size(0), map.size(2), map.size(3))
                              : sine_positions(feature.mask, {.features = features}).to(map.scalar_type());
    }
    return all;
  }
};
TORCH_MODULE(DetrConvModel);

// Attention whose queries and keys, but not its values, know where they stand.
struct DetrAttentionImpl : nn::Module {
  int64_t heads;
  double dropout;
  AttnImplementation implementation;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  DetrAttentionImpl(const DetrFamilyConfig& c, int64_t heads)
      : heads(heads),
        dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        k_proj(register_module("k_proj", nn::Linear(c.d_model, c.d_model))),
        v_proj(register_module("v_proj", nn::Linear(c.d_model, c.d_model))),
        q_proj(register_module("q_proj", nn::Linear(c.d_model, c.d_model))),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model))) {}

  // queries, keys and values [batch, seq, d_model]; mask additive or undefined -> [batch, seq of the queries, d_model]
  Tensor forward(const Tensor& queries, const Tensor& keys, const Tensor& values, const Tensor& mask, Tensor* probs) {
    return out_proj(merge_heads(attention(
        split_heads(q_proj(queries), heads), split_heads(k_proj(keys), heads), split_heads(v_proj(values), heads),
        {.mask = mask, .dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = probs})));
  }
};
TORCH_MODULE(DetrAttention);

// What the layers of one call share.
struct Pass {
  Tensor memory;            // [batch, pixels, d_model], for the decoder
  Tensor memory_positions;  // [batch, pixels, d_model]
  Tensor mask;              // additive [batch, 1, 1, pixels], or undefined
  Tensor query_positions;   // [batch, queries, d_model], for the decoder
  Trace* trace;
  std::vector<Tensor>* cross_attentions = nullptr;

  Tensor* next_cross() const { return cross_attentions ? &cross_attentions->emplace_back() : nullptr; }
};

// The modules of an encoder layer; derived structs order them.
struct DetrEncoderLayerParts : nn::Module {
  DetrAttention self_attn;
  nn::LayerNorm self_attn_layer_norm, final_layer_norm;
  nn::Linear fc1, fc2;
  Activation act;
  double dropout, activation_dropout;

  DetrEncoderLayerParts(const DetrFamilyConfig& c, int64_t heads, int64_t ffn_dim)
      : self_attn(register_module("self_attn", DetrAttention(c, heads))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, ffn_dim))),
        fc2(register_module("fc2", nn::Linear(ffn_dim, c.d_model))),
        act(activation(c.activation_function)),
        dropout(c.dropout),
        activation_dropout(c.activation_dropout) {}

  Tensor drop(const Tensor& x, double p) const { return is_training() && p > 0 ? at::dropout(x, p, true) : x; }
  Tensor feed_forward(const Tensor& x) { return drop(fc2(drop(act(fc1(x)), activation_dropout)), dropout); }
};

struct DetrDecoderLayerParts : DetrEncoderLayerParts {
  DetrAttention encoder_attn;
  nn::LayerNorm encoder_attn_layer_norm;

  explicit DetrDecoderLayerParts(const DetrFamilyConfig& c)
      : DetrEncoderLayerParts(c, c.decoder_attention_heads, c.decoder_ffn_dim),
        encoder_attn(register_module("encoder_attn", DetrAttention(c, c.decoder_attention_heads))),
        encoder_attn_layer_norm(register_module("encoder_attn_layer_norm", nn::LayerNorm(c.d_model))) {}

  Tensor attend_self(const Tensor& x, const Pass& pass) {
    const Tensor placed = x + pass.query_positions;
    return drop(self_attn(placed, placed, x, Tensor(), pass.trace->next_attention()), dropout);
  }
  Tensor attend_memory(const Tensor& x, const Pass& pass) {
    return drop(encoder_attn(x + pass.query_positions, pass.memory + pass.memory_positions, pass.memory, pass.mask,
                             pass.next_cross()),
                dropout);
  }
};

template <class Layer>
struct DetrEncoderOfImpl : nn::Module {
  nn::Layers<Layer> layers;
  nn::LayerNorm layernorm{nullptr};
  double dropout;

  DetrEncoderOfImpl(const DetrFamilyConfig& c, bool final_norm)
      : layers(register_module("layers", nn::Layers<Layer>(c.encoder_layers, [&](int64_t) { return Layer(c); }))),
        dropout(c.dropout) {
    if (final_norm) layernorm = register_module("layernorm", nn::LayerNorm(c.d_model));
  }

  Tensor forward(Tensor x, const Pass& pass) {
    if (is_training() && dropout > 0) x = at::dropout(x, dropout, true);
    for (auto& layer : *layers) {
      pass.trace->hidden_state(x);
      x = layer(x, pass);
    }
    pass.trace->hidden_state(x);
    return layernorm ? layernorm(x) : x;
  }
};

template <class Layer>
struct DetrDecoderOfImpl : nn::Module {
  bool keeps_intermediate;
  nn::Layers<Layer> layers;
  nn::LayerNorm layernorm;

  explicit DetrDecoderOfImpl(const DetrFamilyConfig& c)
      : keeps_intermediate(c.auxiliary_loss),
        layers(register_module("layers", nn::Layers<Layer>(c.decoder_layers, [&](int64_t) { return Layer(c); }))),
        layernorm(register_module("layernorm", nn::LayerNorm(c.d_model))) {}

  // With auxiliary losses each layer's normed output goes on to the next, as the reference has it.
  Tensor forward(Tensor x, const Pass& pass, std::vector<Tensor>& intermediate) {
    for (auto& layer : *layers) {
      pass.trace->hidden_state(x);
      x = layer(x, pass);
      if (keeps_intermediate) intermediate.push_back(x = layernorm(x));
    }
    x = layernorm(x);
    pass.trace->hidden_state(x);
    return x;
  }
};

constexpr std::array<std::string_view, 5> kImageArguments = {"pixel_values", "pixel_mask", "encoder_outputs",
                                                             "output_hidden_states", "output_attentions"};

template <class ConfigType>
struct DetrPreTrained : PreTrainedModel {
  using Config = ConfigType;
  static constexpr bool supports_sdpa = false;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .ignore_unexpected = {R"(backbone\..*num_batches_tracked$)"}};
  }
};

// What encoder and decoder gave, for heads that need more than the output has.
struct Encoded {
  std::vector<Feature> features;
  Tensor projected;  // [batch, d_model, height, width], what the encoder saw
  Tensor memory;     // [batch, pixels, d_model]
  ModelOutput output;
};

// EncoderLayer(config) and DecoderLayer(config): x [batch, seq, d_model] and a Pass -> the same.
template <class ConfigType, class EncoderLayer, class DecoderLayer, bool kEncoderNorm>
struct DetrModelOf : DetrPreTrained<ConfigType> {
  using Encoder = nn::ModuleHolder<DetrEncoderOfImpl<EncoderLayer>>;
  using Decoder = nn::ModuleHolder<DetrDecoderOfImpl<DecoderLayer>>;
  DetrConvModel backbone;
  nn::Conv2d input_projection;
  nn::Embedding query_position_embeddings;
  Encoder encoder;
  Decoder decoder;

  explicit DetrModelOf(const ConfigType& c)
      : DetrPreTrained<ConfigType>(c),
        backbone(this->register_module("backbone", DetrConvModel(c))),
        input_projection(this->register_module("input_projection",
                                               nn::Conv2d(backbone->conv_encoder->channels.back(), c.d_model, 1))),
        query_position_embeddings(
            this->register_module("query_position_embeddings", nn::Embedding(c.num_queries, c.d_model))),
        encoder(this->register_module("encoder", Encoder(c, kEncoderNorm))),
        decoder(this->register_module("decoder", Decoder(c))) {}

  std::span<const std::string_view> arguments() const override { return kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override { return encode(inputs).output; }

  Encoded encode(const ModelInputs& inputs) {
    const PretrainedConfig& c = this->config();
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, static_cast<const ConfigType&>(c).num_channels);
    Tensor pixel_mask = inputs.tensor("pixel_mask");
    if (!pixel_mask.defined()) pixel_mask = at::ones({pixels.size(0), pixels.size(2), pixels.size(3)});

    Encoded e;
    e.features = backbone->forward(pixels, pixel_mask);
    const Feature& last = e.features.back();
    e.projected = input_projection(last.map);
    Trace encoding(inputs, c), decoding(inputs, c);
    Pass pass;
    pass.trace = &encoding;
    pass.memory_positions = map_to_tokens(last.positions);
    pass.mask = padding_mask(last.mask.flatten(1), pixels.scalar_type());
    const auto given = inputs.tuple("encoder_outputs");
    e.memory = given.empty() ? encoder->forward(map_to_tokens(e.projected), pass) : given[0];

    std::vector<Tensor> intermediate, cross_attentions;
    pass.trace = &decoding;
    pass.memory = e.memory;
    pass.query_positions = query_position_embeddings->weight.unsqueeze(0).expand({pixels.size(0), -1, -1});
    if (decoding.keeps_attentions) pass.cross_attentions = &cross_attentions;
    const Tensor x = decoder->forward(at::zeros_like(pass.query_positions), pass, intermediate);

    e.output.set("last_hidden_state", x);
    e.output.set("decoder_hidden_states", decoding.hidden_states);
    e.output.set("decoder_attentions", decoding.attentions);
    e.output.set("cross_attentions", cross_attentions);
    e.output.set("encoder_last_hidden_state", e.memory);
    e.output.set("encoder_hidden_states", encoding.hidden_states);
    e.output.set("encoder_attentions", encoding.attentions);
    if (!intermediate.empty()) e.output.set("intermediate_hidden_states", at::stack(intermediate));
    return e;
  }
};

// Takes over what the base model gave, but not its intermediate states.
inline void pass_on_states(ModelOutput& output, const ModelOutput& base) {
  for (const auto& [name, value] : base) {
    if (name != "intermediate_hidden_states") output.set(name, value);
  }
}

template <class Model>
struct DetrDetectorOf : DetrPreTrained<typename Model::Config> {
  using Config = typename Model::Config;
  std::shared_ptr<Model> model;
  nn::Linear class_labels_classifier;
  nn::MlpHead bbox_predictor;

  explicit DetrDetectorOf(const Config& c)
      : DetrPreTrained<Config>(c),
        model(this->register_module("model", std::make_shared<Model>(c))),
        class_labels_classifier(
            this->register_module("class_labels_classifier", nn::Linear(c.d_model, c.num_labels() + 1))),
        bbox_predictor(this->register_module("bbox_predictor", nn::MlpHead(c.d_model, c.d_model, 4, 3))) {}

  std::span<const std::string_view> arguments() const override { return model->arguments(); }

  ModelOutput compute(const ModelInputs& inputs) override { return detect(model->forward(inputs)); }

  ModelOutput detect(const ModelOutput& base) {
    const Tensor x = base["last_hidden_state"];
    ModelOutput output;
    output.set("logits", class_labels_classifier(x));
    output.set("pred_boxes", at::sigmoid(bbox_predictor(x)));
    pass_on_states(output, base);
    return output;
  }
};

}  // namespace backplane::detr
