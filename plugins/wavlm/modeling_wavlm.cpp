// WavLM: Chen et al. 2021, https://arxiv.org/abs/2110.13900
// WavLM is wav2vec 2.0 except: scores get a bias by relative position (buckets as in T5), learned in the first layer,
// which each layer gates by its own queries. Reference: transformers, models/wavlm/modeling_wavlm.py

#include "configuration_wavlm.h"

#include "../wav2vec2/heads.h"

namespace backplane::wavlm {

using namespace wav2vec2;

struct WavLMAttentionImpl : nn::Module {
  int64_t heads, buckets, max_distance;
  AttnImplementation implementation;
  double dropout;
  nn::Linear k_proj, v_proj, q_proj, out_proj, gru_rel_pos_linear;
  Tensor gru_rel_pos_const;  // [1, heads, 1, 1]
  nn::Embedding rel_attn_embed{nullptr};

  WavLMAttentionImpl(const WavLMConfig& c, bool is_first)
      : heads(c.num_attention_heads),
        buckets(c.num_buckets),
        max_distance(c.max_bucket_distance),
        implementation(c.attn_implementation),
        dropout(c.attention_dropout),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        gru_rel_pos_linear(register_module("gru_rel_pos_linear", nn::Linear(c.hidden_size / heads, 8))),
        gru_rel_pos_const(register_parameter("gru_rel_pos_const", nn::uninitialised({1, heads, 1, 1}))) {
    if (is_first) rel_attn_embed = register_module("rel_attn_embed", nn::Embedding(buckets, heads));
  }

  // The bias of all layers, [1, heads, frames, frames].
  Tensor position_bias(int64_t frames) {
    const Tensor positions = at::arange(frames, at::kLong);
    const Tensor distance = positions.unsqueeze(0) - positions.unsqueeze(1);
    const int64_t half = buckets / 2, exact = half / 2;
    const Tensor away = distance.abs();
    const Tensor far = at::log(away.to(at::kFloat) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) *
                       static_cast<double>(half - exact);
    const Tensor bucket =
        at::where(away < exact, away, (exact + far).clamp(0, static_cast<double>(half - 1)).to(at::kLong));
    return rel_attn_embed(bucket + (distance > 0).to(at::kLong) * half).permute({2, 0, 1}).unsqueeze(0);
  }

  // x [batch, frames, hidden], bias [1, heads, frames, frames], mask additive [batch, 1, 1, frames] or undefined
  Tensor forward(const Tensor& x, const Tensor& bias, const Tensor& mask, std::vector<Tensor>* attentions) {
    const Tensor gates = at::sigmoid(gru_rel_pos_linear(split_heads(x, heads)).unflatten(-1, {2, 4}).sum(-1));
    const Tensor a = gates.slice(-1, 0, 1), b = gates.slice(-1, 1, 2);  // [batch, heads, frames, 1]
    Tensor gated = (a * (b * gru_rel_pos_const - 1.0) + 2.0) * bias;
    if (mask.defined()) gated = gated + mask;
    Tensor probs;
    const Tensor y =
        attention(split_heads(q_proj(x), heads), split_heads(k_proj(x), heads), split_heads(v_proj(x), heads),
                  {.mask = gated,
                   .dropout = is_training() ? dropout : 0,
                   .implementation = implementation,
                   .probs = attentions ? &probs : nullptr});
    // The reference gives the mean of the heads for each of them.
    if (attentions) attentions->push_back(probs.mean(1, true).expand_as(probs));
    return out_proj(merge_heads(y));
  }
};
TORCH_MODULE(WavLMAttention);

struct WavLMEncoderLayerImpl : nn::Module {
  bool norm_first;
  WavLMAttention attention;
  nn::Dropout dropout;
  nn::LayerNorm layer_norm;
  Wav2Vec2FeedForward feed_forward;
  nn::LayerNorm final_layer_norm;

  WavLMEncoderLayerImpl(const WavLMConfig& c, bool is_first)
      : norm_first(c.do_stable_layer_norm),
        attention(register_module("attention", WavLMAttention(c, is_first))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        feed_forward(register_module("feed_forward", Wav2Vec2FeedForward(c))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(Tensor x, const Tensor& bias, const Tensor& mask, std::vector<Tensor>* attentions) {
    if (norm_first) {
      x = x + dropout(attention(layer_norm(x), bias, mask, attentions));
      return x + feed_forward(final_layer_norm(x));
    }
    x = layer_norm(x + dropout(attention(x, bias, mask, attentions)));
    return final_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(WavLMEncoderLayer);

struct WavLMEncoderImpl : EncoderImpl {
  bool norm_first;
  double layerdrop;
  Positions pos_conv_embed;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;
  nn::Layers<WavLMEncoderLayer> layers;

  explicit WavLMEncoderImpl(const WavLMConfig& c)
      : norm_first(c.do_stable_layer_norm),
        layerdrop(c.layerdrop),
        pos_conv_embed(
            register_module("pos_conv_embed", Positions(std::make_shared<Wav2Vec2PositionalConvEmbeddingImpl>(c)))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module("layers", nn::Layers<WavLMEncoderLayer>(c.num_hidden_layers, [&](int64_t i) {
                                 return WavLMEncoderLayer(c, i == 0);
                               }))) {}

  Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) override {
    x = silence_padding(x, attention_mask);
    x = x + pos_conv_embed->forward(x.transpose(1, 2)).transpose(1, 2);
    if (!norm_first) x = layer_norm(x);
    x = dropout(x);
    const Tensor mask = padding_mask(attention_mask, x.scalar_type());
    const Tensor bias = layers->size() > 0 ? (*layers)[0]->attention->position_bias(x.size(1)) : Tensor();
    x = run(layers, x, layerdrop, record,
            [&](auto& layer, const Tensor& h) { return layer(h, bias, mask, record.attentions); });
    if (norm_first) x = layer_norm(x);
    if (record.hidden_states) record.hidden_states->push_back(x);
    return x;
  }
};

struct WavLMModel : SpeechModel {
  using Config = WavLMConfig;
  static constexpr bool supports_sdpa = false;
  static constexpr const char* kPrefix = "wavlm";

  explicit WavLMModel(const WavLMConfig& c) : SpeechModel(c) {
    make(Wav2Vec2FeatureEncoder(c), std::make_shared<Wav2Vec2FeatureProjectionImpl>(c),
         std::make_shared<WavLMEncoderImpl>(c));
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct WavLMForCTC : SpeechForCTC<WavLMModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct WavLMForSequenceClassification : SpeechForSequenceClassification<WavLMModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};
struct WavLMForAudioFrameClassification : SpeechForAudioFrameClassification<WavLMModel> {
  using SpeechForAudioFrameClassification::SpeechForAudioFrameClassification;
};
struct WavLMForXVector : SpeechForXVector<WavLMModel> {
  using SpeechForXVector::SpeechForXVector;
};

BACKPLANE_PLUGIN(wavlm, plugin) {
  plugin.config<WavLMConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<WavLMModel>(Auto::Model);
  plugin.model<WavLMForCTC>(Auto::ForCTC);
  plugin.model<WavLMForSequenceClassification>(Auto::ForAudioClassification);
  plugin.model<WavLMForAudioFrameClassification>(Auto::ForAudioFrameClassification);
  plugin.model<WavLMForXVector>(Auto::ForAudioXVector);
}

}  // namespace backplane::wavlm
