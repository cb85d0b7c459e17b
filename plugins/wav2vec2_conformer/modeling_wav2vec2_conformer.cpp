// wav2vec 2.0 with Conformer layers: Wang et al. 2020, https://arxiv.org/abs/2010.05171; Gulati et al. 2020,
// https://arxiv.org/abs/2005.08100
// It is wav2vec 2.0 except: the layers have two half feed-forward parts and a convolution, and positions are relative
// (Transformer-XL, https://arxiv.org/abs/1901.02860), rotary, or none; the convolution of positions has parameters but
// no use. Reference: transformers, models/wav2vec2_conformer/modeling_wav2vec2_conformer.py

#include "configuration_wav2vec2_conformer.h"

#include "../wav2vec2/heads.h"

namespace backplane::wav2vec2_conformer {

using namespace wav2vec2;

struct ConvolutionModuleImpl : nn::Module {
  nn::LayerNorm layer_norm;
  nn::Conv1d pointwise_conv1, depthwise_conv;
  nn::BatchNorm batch_norm;
  Activation act;
  nn::Conv1d pointwise_conv2;
  nn::Dropout dropout;

  explicit ConvolutionModuleImpl(const Wav2Vec2ConformerConfig& c)
      : layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size))),
        pointwise_conv1(register_module("pointwise_conv1", nn::Conv1d(c.hidden_size, 2 * c.hidden_size, 1,
                                                                      nn::ConvOptions<1>{.with_bias = false}))),
        depthwise_conv(register_module(
            "depthwise_conv", nn::Conv1d(c.hidden_size, c.hidden_size, c.conv_depthwise_kernel_size,
                                         nn::ConvOptions<1>{.padding = {(c.conv_depthwise_kernel_size - 1) / 2},
                                                            .groups = c.hidden_size,
                                                            .with_bias = false}))),
        batch_norm(register_module("batch_norm", nn::BatchNorm(c.hidden_size))),
        act(activation(c.hidden_act)),
        pointwise_conv2(register_module(
            "pointwise_conv2", nn::Conv1d(c.hidden_size, c.hidden_size, 1, nn::ConvOptions<1>{.with_bias = false}))),
        dropout(register_module("dropout", nn::Dropout(c.conformer_conv_dropout))) {}

  Tensor forward(const Tensor& x) {
    const Tensor y = at::glu(pointwise_conv1(layer_norm(x).transpose(1, 2)), 1);
    return dropout(pointwise_conv2(act(batch_norm(depthwise_conv(y))))).transpose(1, 2);
  }
};
TORCH_MODULE(ConvolutionModule);

// What positions are to the layers: sines of distances [1, 2 frames - 1, hidden], or cos and sin [1, frames, size / 2].
struct Position {
  Tensor distances, cos, sin;
};

// Sines and cosines of the distances frames - 1 … 1 - frames.
static Tensor sines_of_distances(int64_t frames, int64_t size) {
  const Tensor rates = at::exp(at::arange(0, size, 2, at::kFloat) * -(std::log(10000.0) / static_cast<double>(size)));
  const Tensor angles = at::arange(frames - 1, -frames, -1, at::kFloat).unsqueeze(1) * rates;
  return at::stack({angles.sin(), angles.cos()}, 2).flatten(1).slice(1, 0, size).unsqueeze(0);
}

struct SelfAttentionImpl : nn::Module {
  int64_t heads;
  AttnImplementation implementation;
  double dropout;
  nn::Linear linear_q, linear_k, linear_v, linear_out;
  nn::Linear linear_pos{nullptr};
  Tensor pos_bias_u, pos_bias_v;  // [heads, d]

  explicit SelfAttentionImpl(const Wav2Vec2ConformerConfig& c)
      : heads(c.num_attention_heads),
        implementation(c.attn_implementation),
        dropout(c.attention_dropout),
        linear_q(register_module("linear_q", nn::Linear(c.hidden_size, c.hidden_size))),
        linear_k(register_module("linear_k", nn::Linear(c.hidden_size, c.hidden_size))),
        linear_v(register_module("linear_v", nn::Linear(c.hidden_size, c.hidden_size))),
        linear_out(register_module("linear_out", nn::Linear(c.hidden_size, c.hidden_size))) {
    if (c.position_embeddings_type == "relative") {
      linear_pos = register_module("linear_pos", nn::Linear(c.hidden_size, c.hidden_size, false));
      pos_bias_u = register_parameter("pos_bias_u", nn::uninitialised({heads, c.hidden_size / heads}));
      pos_bias_v = register_parameter("pos_bias_v", nn::uninitialised({heads, c.hidden_size / heads}));
    }
  }

  Tensor forward(const Tensor& x, const Position& position, const Tensor& padding, std::vector<Tensor>* attentions) {
    const Tensor turned =
        position.cos.defined() ? merge_heads(nn::apply_rotary(split_heads(x, heads), position.cos, position.sin)) : x;
    Tensor q = split_heads(linear_q(turned), heads), mask = padding;
    const Tensor k = split_heads(linear_k(turned), heads), v = split_heads(linear_v(x), heads);
    if (linear_pos) {
      const Tensor by_distance =
          at::matmul(q + pos_bias_v.unsqueeze(1), split_heads(linear_pos(position.distances), heads).transpose(2, 3));
      const Tensor bias = shifted(by_distance) / std::sqrt(static_cast<double>(q.size(3)));
      mask = mask.defined() ? bias + mask : bias;
      q = q + pos_bias_u.unsqueeze(1);
    }
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
  Wav2Vec2FeedForward ffn1;
  nn::LayerNorm self_attn_layer_norm;
  nn::Dropout self_attn_dropout;
  SelfAttention self_attn;
  ConvolutionModule conv_module;
  nn::LayerNorm ffn2_layer_norm;
  Wav2Vec2FeedForward ffn2;
  nn::LayerNorm final_layer_norm;

  explicit EncoderLayerImpl(const Wav2Vec2ConformerConfig& c)
      : ffn1_layer_norm(register_module("ffn1_layer_norm", nn::LayerNorm(c.hidden_size))),
        ffn1(register_module("ffn1", Wav2Vec2FeedForward(c))),
        self_attn_layer_norm(register_module("self_attn_layer_norm", nn::LayerNorm(c.hidden_size))),
        self_attn_dropout(register_module("self_attn_dropout", nn::Dropout(c.attention_dropout))),
        self_attn(register_module("self_attn", SelfAttention(c))),
        conv_module(register_module("conv_module", ConvolutionModule(c))),
        ffn2_layer_norm(register_module("ffn2_layer_norm", nn::LayerNorm(c.hidden_size))),
        ffn2(register_module("ffn2", Wav2Vec2FeedForward(c))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size))) {}

  Tensor forward(Tensor x, const Position& position, const Tensor& mask, std::vector<Tensor>* attentions) {
    x = ffn1(ffn1_layer_norm(x)) * 0.5 + x;
    x = self_attn_dropout(self_attn(self_attn_layer_norm(x), position, mask, attentions)) + x;
    x = x + conv_module(x);
    return final_layer_norm(ffn2(ffn2_layer_norm(x)) * 0.5 + x);
  }
};
TORCH_MODULE(EncoderLayer);

struct RotaryPositionsImpl : nn::Module {
  Tensor inv_freq;  // [size / 2]

  RotaryPositionsImpl(int64_t size, int64_t base)
      : inv_freq(register_buffer(
            "inv_freq",
            1.0 / at::pow(static_cast<double>(base), at::arange(0, size, 2, at::kFloat) / static_cast<double>(size)))) {
  }

  Position forward(int64_t frames) const {
    const Tensor angles = (at::arange(frames, at::kFloat).unsqueeze(1) * inv_freq.to(at::kFloat)).unsqueeze(0);
    return {.distances = {}, .cos = angles.cos(), .sin = angles.sin()};
  }
};
TORCH_MODULE(RotaryPositions);

struct Wav2Vec2ConformerEncoderImpl : EncoderImpl {
  bool relative;
  double layerdrop;
  RotaryPositions embed_positions{nullptr};
  Positions pos_conv_embed;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;
  nn::Layers<EncoderLayer> layers;

  explicit Wav2Vec2ConformerEncoderImpl(const Wav2Vec2ConformerConfig& c)
      : relative(c.position_embeddings_type == "relative"),
        layerdrop(c.layerdrop),
        pos_conv_embed(
            register_module("pos_conv_embed", Positions(std::make_shared<Wav2Vec2PositionalConvEmbeddingImpl>(c)))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module(
            "layers", nn::Layers<EncoderLayer>(c.num_hidden_layers, [&](int64_t) { return EncoderLayer(c); }))) {
    if (c.position_embeddings_type == "rotary") {
      embed_positions = register_module(
          "embed_positions", RotaryPositions(c.hidden_size / c.num_attention_heads, c.rotary_embedding_base));
    }
  }

  Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) override {
    x = dropout(silence_padding(x, attention_mask));
    const Tensor mask = padding_mask(attention_mask, x.scalar_type());
    Position position;
    if (relative) position.distances = sines_of_distances(x.size(1), x.size(2)).to(x.scalar_type());
    if (embed_positions) position = embed_positions->forward(x.size(1));
    x = run(layers, x, layerdrop, record,
            [&](auto& layer, const Tensor& h) { return layer(h, position, mask, record.attentions); });
    x = layer_norm(x);
    if (record.hidden_states) record.hidden_states->push_back(x);
    return x;
  }
};

struct Wav2Vec2ConformerModel : SpeechModel {
  using Config = Wav2Vec2ConformerConfig;
  static constexpr bool supports_sdpa = false;
  static constexpr const char* kPrefix = "wav2vec2_conformer";

  explicit Wav2Vec2ConformerModel(const Wav2Vec2ConformerConfig& c) : SpeechModel(c) {
    make(Wav2Vec2FeatureEncoder(c), std::make_shared<Wav2Vec2FeatureProjectionImpl>(c),
         std::make_shared<Wav2Vec2ConformerEncoderImpl>(c));
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct Wav2Vec2ConformerForPreTraining : SpeechForPreTraining<Wav2Vec2ConformerModel> {
  using SpeechForPreTraining::SpeechForPreTraining;
};
struct Wav2Vec2ConformerForCTC : SpeechForCTC<Wav2Vec2ConformerModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct Wav2Vec2ConformerForSequenceClassification : SpeechForSequenceClassification<Wav2Vec2ConformerModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};
struct Wav2Vec2ConformerForAudioFrameClassification : SpeechForAudioFrameClassification<Wav2Vec2ConformerModel> {
  using SpeechForAudioFrameClassification::SpeechForAudioFrameClassification;
};
struct Wav2Vec2ConformerForXVector : SpeechForXVector<Wav2Vec2ConformerModel> {
  using SpeechForXVector::SpeechForXVector;
};

BACKPLANE_PLUGIN(wav2vec2_conformer, plugin) {
  plugin.config<Wav2Vec2ConformerConfig>();
  plugin.tokenizer("Wav2Vec2CTCTokenizer", "");
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<Wav2Vec2ConformerModel>(Auto::Model);
  plugin.model<Wav2Vec2ConformerForPreTraining>(Auto::ForPreTraining);
  plugin.model<Wav2Vec2ConformerForCTC>(Auto::ForCTC);
  plugin.model<Wav2Vec2ConformerForSequenceClassification>(Auto::ForAudioClassification);
  plugin.model<Wav2Vec2ConformerForAudioFrameClassification>(Auto::ForAudioFrameClassification);
  plugin.model<Wav2Vec2ConformerForXVector>(Auto::ForAudioXVector);
}

}  // namespace backplane::wav2vec2_conformer
