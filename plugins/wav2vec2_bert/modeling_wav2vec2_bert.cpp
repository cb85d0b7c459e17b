// W2v-BERT 2.0: Chung et al. 2021, https://arxiv.org/abs/2108.06209; Barrault et al. 2023,
// https://arxiv.org/abs/2312.05187 It is wav2vec 2.0 with Conformer layers except: it starts from filter banks,
// convolutions see no later frames and have layer norms, distances may be looked up (relative_key), and the adapter has
// attention. Reference: transformers, models/wav2vec2_bert/modeling_wav2vec2_bert.py

#include "configuration_wav2vec2_bert.h"

#include "../wav2vec2/heads.h"

namespace backplane::wav2vec2_bert {

using namespace wav2vec2;

constexpr std::array<std::string_view, 4> kFeatureArguments = {"input_features", "attention_mask", "output_attentions",
                                                               "output_hidden_states"};

struct FeedForwardImpl : nn::Module {
  nn::Linear intermediate_dense, output_dense;
  Activation act;
  nn::Dropout intermediate_dropout, output_dropout;

  FeedForwardImpl(const Wav2Vec2BertConfig& c, int64_t size, const std::string& act_name)
      : intermediate_dense(register_module("intermediate_dense", nn::Linear(size, c.intermediate_size))),
        output_dense(register_module("output_dense", nn::Linear(c.intermediate_size, size))),
        act(activation(act_name)),
        intermediate_dropout(register_module("intermediate_dropout", nn::Dropout(c.activation_dropout))),
        output_dropout(register_module("output_dropout", nn::Dropout(c.hidden_dropout))) {}

  Tensor forward(const Tensor& x) {
    return output_dropout(output_dense(intermediate_dropout(act(intermediate_dense(x)))));
  }
};
TORCH_MODULE(FeedForward);

struct ConvolutionModuleImpl : nn::Module {
  int64_t kernel;
  nn::LayerNorm layer_norm;
  nn::Conv1d pointwise_conv1, depthwise_conv;
  nn::LayerNorm depthwise_layer_norm;
  Activation act;
  nn::Conv1d pointwise_conv2;
  nn::Dropout dropout;

  explicit ConvolutionModuleImpl(const Wav2Vec2BertConfig& c)
      : kernel(c.conv_depthwise_kernel_size),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        pointwise_conv1(register_module("pointwise_conv1", nn::Conv1d(c.hidden_size, 2 * c.hidden_size, 1,
                                                                      nn::ConvOptions<1>{.with_bias = false}))),
        depthwise_conv(register_module("depthwise_conv",
                                       nn::Conv1d(c.hidden_size, c.hidden_size, kernel,
                                                  nn::ConvOptions<1>{.groups = c.hidden_size, .with_bias = false}))),
        depthwise_layer_norm(register_module("depthwise_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        act(activation(c.hidden_act)),
        pointwise_conv2(register_module(
            "pointwise_conv2", nn::Conv1d(c.hidden_size, c.hidden_size, 1, nn::ConvOptions<1>{.with_bias = false}))),
        dropout(register_module("dropout", nn::Dropout(c.conformer_conv_dropout))) {}

  Tensor forward(const Tensor& x, const Tensor& attention_mask) {
    Tensor y = at::glu(pointwise_conv1(silence_padding(layer_norm(x), attention_mask).transpose(1, 2)), 1);
    y = depthwise_conv(at::constant_pad_nd(y, {kernel - 1, 0}));
    y = act(depthwise_layer_norm(y.transpose(1, 2)).transpose(1, 2));
    return dropout(pointwise_conv2(y)).transpose(1, 2);
  }
};
TORCH_MODULE(ConvolutionModule);

// What positions are to the layers: sines of distances [1, 2 frames - 1, hidden], or cos and sin [1, frames, size / 2].
struct Position {
  Tensor distances, cos, sin;
};

static Position position_of(const Wav2Vec2BertConfig& c, int64_t frames, at::ScalarType dtype) {
  const auto rates = [&](int64_t size, double base) {
    return at::exp(at::arange(0, size, 2, at::kFloat) * -(std::log(base) / static_cast<double>(size)));
  };
  Position position;
  if (c.position_embeddings_type == "relative") {
    const Tensor angles = at::arange(frames - 1, -frames, -1, at::kFloat).unsqueeze(1) * rates(c.hidden_size, 10000.0);
    position.distances =
        at::stack({angles.sin(), angles.cos()}, 2).flatten(1).slice(1, 0, c.hidden_size).unsqueeze(0).to(dtype);
  } else if (c.position_embeddings_type == "rotary") {
    const int64_t size = c.hidden_size / c.num_attention_heads;
    const Tensor inverse = 1.0 / at::pow(static_cast<double>(c.rotary_embedding_base),
                                         at::arange(0, size, 2, at::kFloat) / static_cast<double>(size));
    const Tensor angles = (at::arange(frames, at::kFloat).unsqueeze(1) * inverse).unsqueeze(0);
    position.cos = angles.cos();
    position.sin = angles.sin();
  }
  return position;
}

struct SelfAttentionImpl : nn::Module {
  int64_t heads, left, right;
  AttnImplementation implementation;
  double dropout;
  nn::Linear linear_q, linear_k, linear_v, linear_out;
  nn::Linear linear_pos{nullptr};
  Tensor pos_bias_u, pos_bias_v;  // [heads, d]
  nn::Embedding distance_embedding{nullptr};

  SelfAttentionImpl(const Wav2Vec2BertConfig& c, int64_t size, const std::optional<std::string>& positions)
      : heads(c.num_attention_heads),
        left(c.left_max_position_embeddings),
        right(c.right_max_position_embeddings),
        implementation(c.attn_implementation),
        dropout(c.attention_dropout),
        linear_q(register_module("linear_q", nn::Linear(size, size))),
        linear_k(register_module("linear_k", nn::Linear(size, size))),
        linear_v(register_module("linear_v", nn::Linear(size, size))),
        linear_out(register_module("linear_out", nn::Linear(size, size))) {
    if (size % heads != 0)
      throw Error(ErrorCode::bad_config, concat("config.json: output_hidden_size (", size,
                                                ") is not divisible by num_attention_heads (", heads, ")"));
    if (positions == "relative") {
      linear_pos = register_module("linear_pos", nn::Linear(size, size, false));
      pos_bias_u = register_parameter("pos_bias_u", nn::uninitialised({heads, size / heads}));
      pos_bias_v = register_parameter("pos_bias_v", nn::uninitialised({heads, size / heads}));
    } else if (positions == "relative_key") {
      distance_embedding = register_module("distance_embedding", nn::Embedding(left + right + 1, size / heads));
    }
  }

  Tensor forward(const Tensor& x, const Position& position, Tensor mask, std::vector<Tensor>* attentions) {
    const Tensor turned =
        position.cos.defined() ? merge_heads(nn::apply_rotary(split_heads(x, heads), position.cos, position.sin)) : x;
    Tensor q = split_heads(linear_q(turned), heads), bias;
    const Tensor k = split_heads(linear_k(turned), heads), v = split_heads(linear_v(x), heads);
    if (linear_pos) {
      bias = shifted(
          at::matmul(q + pos_bias_v.unsqueeze(1), split_heads(linear_pos(position.distances), heads).transpose(2, 3)));
    } else if (distance_embedding) {
      const Tensor steps = at::arange(x.size(1), at::kLong);
      const Tensor distance = (steps.unsqueeze(0) - steps.unsqueeze(1)).clamp(-left, right);
      bias = at::einsum("bhld,lrd->bhlr", {q, distance_embedding(distance + left)});
    }
    if (bias.defined()) {
      bias = bias / std::sqrt(static_cast<double>(q.size(3)));
      mask = mask.defined() ? bias + mask : bias;
    }
    if (linear_pos) q = q + pos_bias_u.unsqueeze(1);
    Tensor probs;
    const Tensor y = attention(q, k, v,
                               {.mask = mask,
                                .dropout = is_training() ? dropout : 0,
                                .implementation = implementation,
                                .probs = attentions ? &probs : nullptr});
    if (attentions) attentions->push_back(probs);
    return linear_out(merge_heads(y));
  }

  // [batch, heads, frames, 2 frames - 1], the columns by distance from the farthest behind on, -> columns by position
  static Tensor shifted(const Tensor& scores) {
    const int64_t batch = scores.size(0), heads = scores.size(1), frames = scores.size(2), distances = scores.size(3);
    const Tensor padded = at::constant_pad_nd(scores, {1, 0}).view({batch, heads, distances + 1, frames});
    return padded.slice(2, 1).reshape({batch, heads, frames, distances}).slice(3, 0, distances / 2 + 1);
  }
};
TORCH_MODULE(SelfAttention);

struct EncoderLayerImpl : nn::Module {
  nn::LayerNorm ffn1_layer_norm;
  FeedForward ffn1;
  nn::LayerNorm self_attn_layer_norm;
  nn::Dropout self_attn_dropout;
  SelfAttention self_attn;
  ConvolutionModule conv_module;
  nn::LayerNorm ffn2_layer_norm;
  FeedForward ffn2;
  nn::LayerNorm final_layer_norm;

  explicit EncoderLayerImpl(const Wav2Vec2BertConfig& c)
      : ffn1_layer_norm(register_module("ffn1_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        ffn1(register_module("ffn1", FeedForward(c, c.hidden_size, c.hidden_act))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        self_attn_dropout(register_module("self_attn_dropout", nn::Dropout(c.attention_dropout))),
        self_attn(register_module("self_attn", SelfAttention(c, c.hidden_size, c.position_embeddings_type))),
        conv_module(register_module("conv_module", ConvolutionModule(c))),
        ffn2_layer_norm(register_module("ffn2_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        ffn2(register_module("ffn2", FeedForward(c, c.hidden_size, c.hidden_act))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(Tensor x, const Position& position, const Tensor& mask, const Tensor& attention_mask,
                 std::vector<Tensor>* attentions) {
    x = ffn1(ffn1_layer_norm(x)) * 0.5 + x;
    x = self_attn_dropout(self_attn(self_attn_layer_norm(x), position, mask, attentions)) + x;
    x = x + conv_module(x, attention_mask);
    return final_layer_norm(ffn2(ffn2_layer_norm(x)) * 0.5 + x);
  }
};
TORCH_MODULE(EncoderLayer);

struct Wav2Vec2BertEncoderImpl : EncoderImpl {
  const Wav2Vec2BertConfig& c;
  nn::Dropout dropout;
  nn::Layers<EncoderLayer> layers;

  explicit Wav2Vec2BertEncoderImpl(const Wav2Vec2BertConfig& config)
      : c(config),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module(
            "layers", nn::Layers<EncoderLayer>(c.num_hidden_layers, [&](int64_t) { return EncoderLayer(c); }))) {}

  Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) override {
    x = dropout(silence_padding(x, attention_mask));
    const Tensor mask = padding_mask(attention_mask, x.scalar_type());
    const Position position = position_of(c, x.size(1), x.scalar_type());
    x = run(layers, x, c.layerdrop, record,
            [&](auto& layer, const Tensor& h) { return layer(h, position, mask, attention_mask, record.attentions); });
    if (record.hidden_states) record.hidden_states->push_back(x);
    return x;
  }
};

struct AdapterLayerImpl : nn::Module {
  nn::LayerNorm residual_layer_norm;
  nn::Conv1d residual_conv;
  nn::LayerNorm self_attn_layer_norm;
  nn::Conv1d self_attn_conv;
  SelfAttention self_attn;
  nn::Dropout self_attn_dropout;
  nn::LayerNorm ffn_layer_norm;
  FeedForward ffn;

  AdapterLayerImpl(const Wav2Vec2BertConfig& c, int64_t size)
      : residual_layer_norm(register_module("residual_layer_norm", nn::LayerNorm(size, c.layer_norm_eps))),
        residual_conv(register_module("residual_conv", shortening(c, size))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(size, c.layer_norm_eps))),
        self_attn_conv(register_module("self_attn_conv", shortening(c, size))),
        self_attn(register_module("self_attn", SelfAttention(c, size, std::nullopt))),
        self_attn_dropout(register_module("self_attn_dropout", nn::Dropout(c.conformer_conv_dropout))),
        ffn_layer_norm(register_module("ffn_layer_norm", nn::LayerNorm(size, c.layer_norm_eps))),
        ffn(register_module("ffn", FeedForward(c, size, c.adapter_act))) {}

  // lengths [batch] of the shortened rows, or undefined
  Tensor forward(const Tensor& x, const Tensor& lengths) {
    const Tensor residual = at::glu(residual_conv(residual_layer_norm(x).transpose(1, 2)), 1).transpose(1, 2);
    Tensor y = at::glu(self_attn_conv(self_attn_layer_norm(x).transpose(1, 2)), 1).transpose(1, 2);
    Tensor mask;
    if (lengths.defined())
      mask = padding_mask((at::arange(y.size(1), at::kLong).unsqueeze(0) < lengths.unsqueeze(1)).to(at::kLong),
                          y.scalar_type());
    y = self_attn_dropout(self_attn(y, Position{}, mask, nullptr)) + residual;
    return ffn(ffn_layer_norm(y)) + y;
  }

  static nn::Conv1d shortening(const Wav2Vec2BertConfig& c, int64_t size) {
    return nn::Conv1d(size, 2 * size, c.adapter_kernel_size,
                      nn::ConvOptions<1>{.stride = {c.adapter_stride}, .padding = {c.adapter_stride / 2}});
  }
};
TORCH_MODULE(AdapterLayer);

// Frames that the adapter's layers leave of `lengths`.
static Tensor shortened(const Tensor& lengths, const Wav2Vec2BertConfig& c) {
  return at::div(lengths + 2 * (c.adapter_kernel_size / 2) - c.adapter_kernel_size, c.adapter_stride, "floor") + 1;
}

struct AdapterImpl : nn::Module {
  const Wav2Vec2BertConfig& c;
  nn::Linear proj{nullptr};
  nn::LayerNorm proj_layer_norm{nullptr};
  nn::Layers<AdapterLayer> layers;

  explicit AdapterImpl(const Wav2Vec2BertConfig& config)
      : c(config), layers(register_module("layers", nn::Layers<AdapterLayer>(c.num_adapter_layers, [&](int64_t) {
                                            return AdapterLayer(c, *c.output_hidden_size);
                                          }))) {
    if (*c.output_hidden_size != c.hidden_size) {
      proj = register_module("proj", nn::Linear(c.hidden_size, *c.output_hidden_size));
      proj_layer_norm = register_module("proj_layer_norm", nn::LayerNorm(*c.output_hidden_size, c.layer_norm_eps));
    }
  }

  Tensor forward(Tensor x, const Tensor& attention_mask) {
    if (proj) x = proj_layer_norm(proj(x));
    Tensor lengths = attention_mask.defined() ? attention_mask.to(at::kLong).sum(-1) : Tensor();
    for (auto& layer : *layers) {
      if (lengths.defined()) lengths = shortened(lengths, c);
      if (!is_training() || at::rand({}).item<double>() > c.layerdrop) x = layer(x, lengths);
    }
    return x;
  }
};
TORCH_MODULE(Adapter);

struct FilterBankProjectionImpl : nn::Module {
  nn::LayerNorm layer_norm;
  nn::Linear projection;
  nn::Dropout dropout;

  explicit FilterBankProjectionImpl(const Wav2Vec2BertConfig& c)
      : layer_norm(register_module("layer_norm", nn::LayerNorm(c.feature_projection_input_dim, c.layer_norm_eps))),
        projection(register_module("projection", nn::Linear(c.feature_projection_input_dim, c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.feat_proj_dropout))) {}
};
TORCH_MODULE(FilterBankProjection);

struct Wav2Vec2BertModel : PreTrainedModel {
  using Config = Wav2Vec2BertConfig;
  static constexpr bool supports_sdpa = false;
  static constexpr const char* kPrefix = "wav2vec2_bert";
  static constexpr auto kBaseArguments = kFeatureArguments;

  const Wav2Vec2BertConfig& c;
  FilterBankProjection feature_projection;
  Tensor masked_spec_embed;
  std::shared_ptr<Wav2Vec2BertEncoderImpl> encoder;
  Adapter adapter{nullptr};
  FeedForward intermediate_ffn{nullptr};

  explicit Wav2Vec2BertModel(const Wav2Vec2BertConfig& config)
      : PreTrainedModel(config),
        c(config),
        feature_projection(register_module("feature_projection", FilterBankProjection(c))),
        encoder(register_module("encoder", std::make_shared<Wav2Vec2BertEncoderImpl>(c))) {
    if (c.mask_time_prob > 0 || c.mask_feature_prob > 0)
      masked_spec_embed = register_parameter("masked_spec_embed", nn::uninitialised({c.hidden_size}));
    if (c.add_adapter) adapter = register_module("adapter", Adapter(c));
    if (c.use_intermediate_ffn_before_adapter)
      intermediate_ffn = register_module("intermediate_ffn", FeedForward(c, c.hidden_size, "relu"));
  }

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kAll = extend(kFeatureArguments, "mask_time_indices");
    return kAll;
  }

  static Tensor lengths_of(const ModelInputs& inputs) {
    const Tensor attention_mask = inputs.tensor("attention_mask"), features = inputs["input_features"];
    return attention_mask.defined() ? attention_mask.to(at::kLong).sum(-1)
                                    : at::full({features.size(0)}, features.size(1), at::kLong);
  }
  Tensor feature_lengths(Tensor lengths) const {
    if (c.add_adapter)
      for (int64_t i = 0; i < c.num_adapter_layers; ++i) lengths = shortened(lengths, c);
    return lengths;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor features = feature_projection->layer_norm(inputs["input_features"]);
    Tensor attention_mask = inputs.tensor("attention_mask");
    if (attention_mask.defined()) attention_mask = attention_mask.to(at::kBool);
    Tensor x = feature_projection->dropout(feature_projection->projection(features));
    x = augmented(x, c, masked_spec_embed, inputs.tensor("mask_time_indices"), attention_mask, is_training());

    std::vector<Tensor> hidden_states, attentions;
    Record record;
    if (inputs.flag("output_hidden_states", c.output_hidden_states)) record.hidden_states = &hidden_states;
    if (inputs.flag("output_attentions", c.output_attentions)) record.attentions = &attentions;
    x = encoder->forward(x, attention_mask, record);
    if (intermediate_ffn) x = x + 0.5 * intermediate_ffn(x);
    if (adapter) x = adapter(x, attention_mask);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("extract_features", features);
    output.set("hidden_states", std::move(hidden_states));
    output.set("attentions", std::move(attentions));
    return output;
  }
};

struct Wav2Vec2BertForCTC : SpeechForCTC<Wav2Vec2BertModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct Wav2Vec2BertForSequenceClassification : SpeechForSequenceClassification<Wav2Vec2BertModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};
struct Wav2Vec2BertForAudioFrameClassification : SpeechForAudioFrameClassification<Wav2Vec2BertModel> {
  using SpeechForAudioFrameClassification::SpeechForAudioFrameClassification;
};
struct Wav2Vec2BertForXVector : SpeechForXVector<Wav2Vec2BertModel> {
  using SpeechForXVector::SpeechForXVector;
};

BACKPLANE_PLUGIN(wav2vec2_bert, plugin) {
  plugin.config<Wav2Vec2BertConfig>();
  plugin.tokenizer("Wav2Vec2CTCTokenizer", "");
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<Wav2Vec2BertModel>(Auto::Model);
  plugin.model<Wav2Vec2BertForSequenceClassification>(Auto::ForAudioClassification);
  plugin.model<Wav2Vec2BertForCTC>(Auto::ForCTC);
  plugin.model<Wav2Vec2BertForAudioFrameClassification>(Auto::ForAudioFrameClassification);
  plugin.model<Wav2Vec2BertForXVector>(Auto::ForAudioXVector);
}

}  // namespace backplane::wav2vec2_bert
