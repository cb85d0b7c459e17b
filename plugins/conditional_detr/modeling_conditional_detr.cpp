// Conditional DETR: Meng et al. 2021, https://arxiv.org/abs/2108.06152
// It is DETR except: the decoder's cross-attention compares contents and places apart, the place of a query being a
// sine position around its reference point, scaled by its content; boxes are offsets from the reference points.
// Reference: transformers, models/conditional_detr/modeling_conditional_detr.py

#include "../detr/modeling_detr.h"
#include "configuration_conditional_detr.h"

namespace backplane::conditional_detr {

struct ConditionalDetrEncoderLayerImpl : detr::DetrEncoderLayerParts {
  explicit ConditionalDetrEncoderLayerImpl(const detr::DetrFamilyConfig& c)
      : DetrEncoderLayerParts(c, c.encoder_attention_heads, c.encoder_ffn_dim) {}

  Tensor forward(Tensor x, const detr::Pass& pass) {
    const Tensor placed = x + pass.memory_positions;
    x = self_attn_layer_norm(x + drop(self_attn(placed, placed, x, pass.mask, pass.trace->next_attention()), dropout));
    return final_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(ConditionalDetrEncoderLayer);

// Attention over queries, keys and values that have been projected before.
struct ConditionalDetrAttentionImpl : nn::Module {
  double dropout;
  AttnImplementation implementation;
  nn::Linear out_proj;

  explicit ConditionalDetrAttentionImpl(const ConditionalDetrConfig& c)
      : dropout(c.attention_dropout),
        implementation(c.attn_implementation),
        out_proj(register_module("out_proj", nn::Linear(c.d_model, c.d_model))) {}

  // [batch, heads, seq, d], of which v's d may be another
  Tensor forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, Tensor* probs) {
    return out_proj(merge_heads(attention(
        q, k, v,
        {.mask = mask, .dropout = is_training() ? dropout : 0, .implementation = implementation, .probs = probs})));
  }
};
TORCH_MODULE(ConditionalDetrAttention);

struct ConditionalDetrDecoderLayerImpl : nn::Module {
  int64_t heads;
  nn::Linear sa_qcontent_proj, sa_qpos_proj, sa_kcontent_proj, sa_kpos_proj, sa_v_proj;
  ConditionalDetrAttention self_attn;
  nn::LayerNorm self_attn_layer_norm;
  nn::Linear ca_qcontent_proj, ca_kcontent_proj, ca_kpos_proj, ca_v_proj, ca_qpos_sine_proj, ca_qpos_proj{nullptr};
  ConditionalDetrAttention encoder_attn;
  nn::LayerNorm encoder_attn_layer_norm;
  nn::Linear fc1, fc2;
  nn::LayerNorm final_layer_norm;
  Activation act;
  double dropout, activation_dropout;

  ConditionalDetrDecoderLayerImpl(const ConditionalDetrConfig& c, bool is_first)
      : heads(c.decoder_attention_heads),
        sa_qcontent_proj(linear("sa_qcontent_proj", c)),
        sa_qpos_proj(linear("sa_qpos_proj", c)),
        sa_kcontent_proj(linear("sa_kcontent_proj", c)),
        sa_kpos_proj(linear("sa_kpos_proj", c)),
        sa_v_proj(linear("sa_v_proj", c)),
        self_attn(register_module("self_attn", ConditionalDetrAttention(c))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.d_model))),
        ca_qcontent_proj(linear("ca_qcontent_proj", c)),
        ca_kcontent_proj(linear("ca_kcontent_proj", c)),
        ca_kpos_proj(linear("ca_kpos_proj", c)),
        ca_v_proj(linear("ca_v_proj", c)),
        ca_qpos_sine_proj(linear("ca_qpos_sine_proj", c)),
        encoder_attn(register_module("encoder_attn", ConditionalDetrAttention(c))),
        encoder_attn_layer_norm(register_module("encoder_attn_layer_norm", nn::LayerNorm(c.d_model))),
        fc1(register_module("fc1", nn::Linear(c.d_model, c.decoder_ffn_dim))),
        fc2(register_module("fc2", nn::Linear(c.decoder_ffn_dim, c.d_model))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.d_model))),
        act(activation(c.activation_function)),
        dropout(c.dropout),
        activation_dropout(c.activation_dropout) {
    if (is_first) ca_qpos_proj = linear("ca_qpos_proj", c);
  }

  nn::Linear linear(const char* name, const ConditionalDetrConfig& c) {
    return register_module(name, nn::Linear(c.d_model, c.d_model));
  }
  Tensor drop(const Tensor& x, double p) const { return is_training() && p > 0 ? at::dropout(x, p, true) : x; }

  // x [batch, queries, d_model], sine: where each query looks, [batch, queries, d_model] -> x's shape
  Tensor forward(Tensor x, const Tensor& sine, const detr::Pass& pass) {
    const Tensor& place = pass.query_positions;
    const auto split = [&](const Tensor& y) { return split_heads(y, heads); };
    Tensor h =
        self_attn(split(sa_qcontent_proj(x) + sa_qpos_proj(place)), split(sa_kcontent_proj(x) + sa_kpos_proj(place)),
                  split(sa_v_proj(x)), Tensor(), pass.trace->next_attention());
    x = self_attn_layer_norm(x + drop(h, dropout));

    Tensor q = ca_qcontent_proj(x), k = ca_kcontent_proj(pass.memory);
    const Tensor k_place = ca_kpos_proj(pass.memory_positions);
    if (ca_qpos_proj) {
      q = q + ca_qpos_proj(place);
      k = k + k_place;
    }
    h = encoder_attn(at::cat({split(q), split(ca_qpos_sine_proj(sine))}, 3), at::cat({split(k), split(k_place)}, 3),
                     split(ca_v_proj(pass.memory)), pass.mask, pass.next_cross());
    x = encoder_attn_layer_norm(x + drop(h, dropout));
    return final_layer_norm(x + drop(fc2(drop(act(fc1(x)), activation_dropout)), dropout));
  }
};
TORCH_MODULE(ConditionalDetrDecoderLayer);

// Sine positions of points [batch, queries, 2], x before y, between 0 and 1 -> [batch, queries, d_model], rows first.
static Tensor sine_of_points(const Tensor& points, int64_t d_model) {
  constexpr double kTurn = 6.283185307179586;
  const int64_t size = d_model / 2;
  const Tensor exponent =
      (2 * at::floor_divide(at::arange(size, at::kLong), 2)).to(at::kFloat) / static_cast<double>(size);
  const Tensor wave = at::pow(10000.0, exponent);
  const auto waves = [&](const Tensor& position) {
    const Tensor angle = (position * kTurn).unsqueeze(-1) / wave;
    return at::stack({angle.slice(2, 0, std::nullopt, 2).sin(), angle.slice(2, 1, std::nullopt, 2).cos()}, 3)
        .flatten(2);
  };
  return at::cat({waves(points.select(2, 1)), waves(points.select(2, 0))}, 2);
}

struct ConditionalDetrDecoderImpl : nn::Module {
  int64_t d_model;
  bool keeps_intermediate;
  nn::Layers<ConditionalDetrDecoderLayer> layers;
  nn::LayerNorm layernorm;
  nn::MlpHead query_scale, ref_point_head;

  explicit ConditionalDetrDecoderImpl(const ConditionalDetrConfig& c)
      : d_model(c.d_model),
        keeps_intermediate(c.auxiliary_loss),
        layers(register_module(
            "layers", nn::Layers<ConditionalDetrDecoderLayer>(
                          c.decoder_layers, [&](int64_t i) { return ConditionalDetrDecoderLayer(c, i == 0); }))),
        layernorm(register_module("layernorm", nn::LayerNorm(d_model))),
        query_scale(register_module("query_scale", nn::MlpHead(d_model, d_model, d_model, 2))),
        ref_point_head(register_module("ref_point_head", nn::MlpHead(d_model, d_model, 2, 2))) {}

  // -> states [batch, queries, d_model] and reference points [batch, queries, 2]
  std::pair<Tensor, Tensor> forward(Tensor x, const detr::Pass& pass, std::vector<Tensor>& intermediate) {
    const Tensor points = at::sigmoid(ref_point_head(pass.query_positions)), sine = sine_of_points(points, d_model);
    for (size_t i = 0; i < layers->size(); ++i) {
      pass.trace->hidden_state(x);
      x = (*layers)[i](x, i ? sine * query_scale(x) : sine, pass);
      if (keeps_intermediate) intermediate.push_back(x = layernorm(x));
    }
    x = layernorm(x);
    pass.trace->hidden_state(x);
    return {x, points};
  }
};
TORCH_MODULE(ConditionalDetrDecoder);

struct ConditionalDetrModel : detr::DetrPreTrained<ConditionalDetrConfig> {
  using Encoder = nn::ModuleHolder<detr::DetrEncoderOfImpl<ConditionalDetrEncoderLayer>>;
  const ConditionalDetrConfig& c;
  detr::DetrConvModel backbone;
  nn::Conv2d input_projection;
  nn::Embedding query_position_embeddings;
  Encoder encoder;
  ConditionalDetrDecoder decoder;

  explicit ConditionalDetrModel(const ConditionalDetrConfig& config)
      : DetrPreTrained(config),
        c(config),
        backbone(register_module("backbone", detr::DetrConvModel(c))),
        input_projection(
            register_module("input_projection", nn::Conv2d(backbone->conv_encoder->channels.back(), c.d_model, 1))),
        query_position_embeddings(
            register_module("query_position_embeddings", nn::Embedding(c.num_queries, c.d_model))),
        encoder(register_module("encoder", Encoder(c, false))),
        decoder(register_module("decoder", ConditionalDetrDecoder(c))) {}

  std::span<const std::string_view> arguments() const override { return detr::kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor pixels = inputs.tensor("pixel_values");
    check_images(pixels, c.num_channels);
    Tensor pixel_mask = inputs.tensor("pixel_mask");
    if (!pixel_mask.defined()) pixel_mask = at::ones({pixels.size(0), pixels.size(2), pixels.size(3)});
    const auto features = backbone->forward(pixels, pixel_mask);
    const detr::Feature& last = features.back();

    Trace encoding(inputs, c), decoding(inputs, c);
    detr::Pass pass;
    pass.trace = &encoding;
    pass.memory_positions = map_to_tokens(last.positions);
    pass.mask = padding_mask(last.mask.flatten(1), pixels.scalar_type());
    const auto given = inputs.tuple("encoder_outputs");
    pass.memory = given.empty() ? encoder->forward(map_to_tokens(input_projection(last.map)), pass) : given[0];

    std::vector<Tensor> intermediate, cross_attentions;
    pass.trace = &decoding;
    pass.query_positions = query_position_embeddings->weight.unsqueeze(0).expand({pixels.size(0), -1, -1});
    if (decoding.keeps_attentions) pass.cross_attentions = &cross_attentions;
    const auto [x, points] = decoder->forward(at::zeros_like(pass.query_positions), pass, intermediate);

    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("decoder_hidden_states", decoding.hidden_states);
    output.set("decoder_attentions", decoding.attentions);
    output.set("cross_attentions", cross_attentions);
    output.set("encoder_last_hidden_state", pass.memory);
    output.set("encoder_hidden_states", encoding.hidden_states);
    output.set("encoder_attentions", encoding.attentions);
    if (!intermediate.empty()) output.set("intermediate_hidden_states", at::stack(intermediate));
    output.set("reference_points", points.transpose(0, 1));
    return output;
  }
};

struct ConditionalDetrForObjectDetection : detr::DetrPreTrained<ConditionalDetrConfig> {
  std::shared_ptr<ConditionalDetrModel> model;
  nn::Linear class_labels_classifier;
  nn::MlpHead bbox_predictor;

  explicit ConditionalDetrForObjectDetection(const ConditionalDetrConfig& c)
      : DetrPreTrained(c),
        model(register_module("model", std::make_shared<ConditionalDetrModel>(c))),
        class_labels_classifier(register_module("class_labels_classifier", nn::Linear(c.d_model, c.num_labels()))),
        bbox_predictor(register_module("bbox_predictor", nn::MlpHead(c.d_model, c.d_model, 4, 3))) {}

  std::span<const std::string_view> arguments() const override { return detr::kImageArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->forward(inputs);
    const Tensor x = base["last_hidden_state"], boxes = bbox_predictor(x),
                 centre = inverse_sigmoid(base["reference_points"]).transpose(0, 1);
    ModelOutput output;
    output.set("logits", class_labels_classifier(x));
    output.set("pred_boxes", at::sigmoid(at::cat({boxes.slice(2, 0, 2) + centre, boxes.slice(2, 2)}, 2)));
    for (const auto& [name, value] : base) {
      if (name != "intermediate_hidden_states" && name != "reference_points") output.set(name, value);
    }
    return output;
  }
};

BACKPLANE_PLUGIN(conditional_detr, plugin) {
  plugin.config<ConditionalDetrConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "ConditionalDetrFeatureExtractor");
  plugin.preprocessor(Auto::ImageProcessor, "ConditionalDetrImageProcessor", "ConditionalDetrImageProcessorFast");
  plugin.model<ConditionalDetrModel>(Auto::Model);
  plugin.model<ConditionalDetrForObjectDetection>(Auto::ForObjectDetection);
}

}  // namespace backplane::conditional_detr
