#pragma once

// wav2vec 2.0: Baevski et al. 2020, https://arxiv.org/abs/2006.11477
// A stack of convolutions over the wave, a convolution as positions, a post-norm or (do_stable_layer_norm) pre-norm
// encoder. Siblings include this header and replace parts. Reference: transformers,
// models/wav2vec2/modeling_wav2vec2.py

#include <backplane/nn/speech.h>
#include <backplane/nn/uninitialised.h>

#include "configuration_wav2vec2.h"

namespace backplane::wav2vec2 {

struct Wav2Vec2FeatureEncoderImpl : nn::Module {
  nn::Layers<nn::WaveConvLayer> conv_layers;

  explicit Wav2Vec2FeatureEncoderImpl(const SpeechConfig& c)
      : Wav2Vec2FeatureEncoderImpl(c, [&](int64_t i) {
          return c.feat_extract_norm == "layer" ? nn::ConvNorm::layer
                 : i == 0                       ? nn::ConvNorm::group
                                                : nn::ConvNorm::none;
        }) {}

  template <class NormOf>
  Wav2Vec2FeatureEncoderImpl(const SpeechConfig& c, NormOf norm_of)
      : conv_layers(
            register_module("conv_layers", nn::Layers<nn::WaveConvLayer>(c.num_feat_extract_layers, [&](int64_t i) {
                              const auto at = static_cast<size_t>(i);
                              return nn::WaveConvLayer(i > 0 ? c.conv_dim[at - 1] : 1, c.conv_dim[at],
                                                       c.conv_kernel[at], c.conv_stride[at], c.conv_bias, norm_of(i),
                                                       activation(c.feat_extract_activation));
                            }))) {}

  // wave [batch, samples] -> [batch, frames, channels]
  Tensor forward(const Tensor& wave) {
    Tensor x = wave.unsqueeze(1);
    for (auto& layer : *conv_layers) x = layer(x);
    return x.transpose(1, 2);
  }
};
TORCH_MODULE(Wav2Vec2FeatureEncoder);

// From the channels of the convolutions to the layers' size.
struct FeatureProjectionImpl : nn::Module {
  // x [batch, frames, channels] -> [batch, frames, hidden], and the normalised input (undefined where nobody asks for
  // it)
  virtual std::pair<Tensor, Tensor> forward(const Tensor& x) = 0;
};
using FeatureProjection = std::shared_ptr<FeatureProjectionImpl>;

struct Wav2Vec2FeatureProjectionImpl : FeatureProjectionImpl {
  nn::LayerNorm layer_norm;
  nn::Linear projection;
  nn::Dropout dropout;

  explicit Wav2Vec2FeatureProjectionImpl(const SpeechConfig& c)
      : layer_norm(register_module("layer_norm", nn::LayerNorm(c.conv_dim.back(), c.layer_norm_eps))),
        projection(register_module("projection", nn::Linear(c.conv_dim.back(), c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.feat_proj_dropout))) {}

  std::pair<Tensor, Tensor> forward(const Tensor& x) override {
    const Tensor normalised = layer_norm(x);
    return {dropout(projection(normalised)), normalised};
  }
};

// What stands between the features and the layers: relative positions out of the neighbourhood of each frame.
struct PositionsImpl : nn::Module {
  // x [batch, hidden, frames] -> the same shape
  virtual Tensor forward(const Tensor& x) = 0;
};
using Positions = std::shared_ptr<PositionsImpl>;

// A convolution of an even kernel with half a kernel of padding at both ends makes one frame too many.
inline Tensor as_long_as(const Tensor& y, const Tensor& x) { return y.slice(2, 0, x.size(2)); }

struct Wav2Vec2PositionalConvEmbeddingImpl : PositionsImpl {
  nn::WeightNormConv1d conv;
  Activation act;

  explicit Wav2Vec2PositionalConvEmbeddingImpl(const SpeechConfig& c)
      : conv(register_module("conv", nn::WeightNormConv1d(c.hidden_size, c.hidden_size, c.num_conv_pos_embeddings,
                                                          nn::ConvOptions<1>{.padding = {c.num_conv_pos_embeddings / 2},
                                                                             .groups = c.num_conv_pos_embedding_groups},
                                                          2))),
        act(activation(c.feat_extract_activation)) {}

  Tensor forward(const Tensor& x) override { return act(as_long_as(conv(x), x)); }
};

struct Wav2Vec2AttentionImpl : nn::Module {
  int64_t heads;
  AttnImplementation implementation;
  double dropout;
  nn::Linear k_proj, v_proj, q_proj, out_proj;

  explicit Wav2Vec2AttentionImpl(const SpeechConfig& c)
      : heads(c.num_attention_heads),
        implementation(c.attn_implementation),
        dropout(c.attention_dropout),
        k_proj(register_module("k_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        v_proj(register_module("v_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        q_proj(register_module("q_proj", nn::Linear(c.hidden_size, c.hidden_size))),
        out_proj(register_module("out_proj", nn::Linear(c.hidden_size, c.hidden_size))) {}

  // x [batch, frames, hidden], mask additive [batch, 1, 1, frames] or undefined
  Tensor forward(const Tensor& x, const Tensor& mask, std::vector<Tensor>* attentions) {
    Tensor probs;
    const Tensor y =
        attention(split_heads(q_proj(x), heads), split_heads(k_proj(x), heads), split_heads(v_proj(x), heads),
                  {.mask = mask,
                   .dropout = is_training() ? dropout : 0,
                   .implementation = implementation,
                   .probs = attentions ? &probs : nullptr});
    if (attentions) attentions->push_back(probs);
    return out_proj(merge_heads(y));
  }
};
TORCH_MODULE(Wav2Vec2Attention);

struct Wav2Vec2FeedForwardImpl : nn::Module {
  nn::Linear intermediate_dense, output_dense;
  Activation act;
  nn::Dropout intermediate_dropout, output_dropout;

  explicit Wav2Vec2FeedForwardImpl(const SpeechConfig& c)
      : intermediate_dense(register_module("intermediate_dense", nn::Linear(c.hidden_size, c.intermediate_size))),
        output_dense(register_module("output_dense", nn::Linear(c.intermediate_size, c.hidden_size))),
        act(activation(c.hidden_act)),
        intermediate_dropout(register_module("intermediate_dropout", nn::Dropout(c.activation_dropout))),
        output_dropout(register_module("output_dropout", nn::Dropout(c.hidden_dropout))) {}

  Tensor forward(const Tensor& x) {
    return output_dropout(output_dense(intermediate_dropout(act(intermediate_dense(x)))));
  }
};
TORCH_MODULE(Wav2Vec2FeedForward);

struct Wav2Vec2EncoderLayerImpl : nn::Module {
  Wav2Vec2Attention attention;
  nn::Dropout dropout;
  nn::LayerNorm layer_norm;
  Wav2Vec2FeedForward feed_forward;
  nn::LayerNorm final_layer_norm;

  explicit Wav2Vec2EncoderLayerImpl(const SpeechConfig& c)
      : attention(register_module("attention", Wav2Vec2Attention(c))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        feed_forward(register_module("feed_forward", Wav2Vec2FeedForward(c))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  Tensor forward(Tensor x, const Tensor& mask, std::vector<Tensor>* attentions) {
    x = layer_norm(x + dropout(attention(x, mask, attentions)));
    return final_layer_norm(x + feed_forward(x));
  }
};
TORCH_MODULE(Wav2Vec2EncoderLayer);

// A bottleneck after each layer, trained for one language. https://arxiv.org/abs/2305.13516
struct Wav2Vec2AttnAdapterLayerImpl : nn::Module {
  nn::LayerNorm norm;
  nn::Linear linear_1, linear_2;

  Wav2Vec2AttnAdapterLayerImpl(int64_t hidden_size, int64_t size)
      : norm(register_module("norm", nn::LayerNorm(hidden_size))),
        linear_1(register_module("linear_1", nn::Linear(hidden_size, size))),
        linear_2(register_module("linear_2", nn::Linear(size, hidden_size))) {}

  Tensor forward(const Tensor& x) { return linear_2(at::relu(linear_1(norm(x)))); }
};
TORCH_MODULE(Wav2Vec2AttnAdapterLayer);

struct Wav2Vec2EncoderLayerStableLayerNormImpl : nn::Module {
  Wav2Vec2Attention attention;
  nn::Dropout dropout;
  nn::LayerNorm layer_norm;
  Wav2Vec2FeedForward feed_forward;
  nn::LayerNorm final_layer_norm;
  Wav2Vec2AttnAdapterLayer adapter_layer{nullptr};

  explicit Wav2Vec2EncoderLayerStableLayerNormImpl(const SpeechConfig& c, std::optional<int64_t> adapter_attn_dim = {})
      : attention(register_module("attention", Wav2Vec2Attention(c))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        feed_forward(register_module("feed_forward", Wav2Vec2FeedForward(c))),
        final_layer_norm(register_module("final_layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {
    if (adapter_attn_dim)
      adapter_layer = register_module("adapter_layer", Wav2Vec2AttnAdapterLayer(c.hidden_size, *adapter_attn_dim));
  }

  Tensor forward(Tensor x, const Tensor& mask, std::vector<Tensor>* attentions) {
    x = x + dropout(attention(layer_norm(x), mask, attentions));
    x = x + feed_forward(final_layer_norm(x));
    return adapter_layer ? x + adapter_layer(x) : x;
  }
};
TORCH_MODULE(Wav2Vec2EncoderLayerStableLayerNorm);

// What forward was asked to keep.
struct Record {
  std::vector<Tensor>* hidden_states = nullptr;
  std::vector<Tensor>* attentions = nullptr;
};

struct EncoderImpl : nn::Module {
  // x [batch, frames, hidden], attention_mask [batch, frames] bool or undefined -> [batch, frames, hidden]
  virtual Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) = 0;

 protected:
  // Layer drop: Fan et al. 2019, https://arxiv.org/abs/1909.11556
  template <class Layers, class Step>
  Tensor run(Layers& layers, Tensor x, double layerdrop, const Record& record, Step step) {
    for (auto& layer : *layers) {
      if (record.hidden_states) record.hidden_states->push_back(x);
      if (is_training() && at::rand({}).template item<double>() < layerdrop) continue;
      x = step(layer, x);
    }
    return x;
  }
};
using Encoder = std::shared_ptr<EncoderImpl>;

// Padding counts as silence.
inline Tensor silence_padding(const Tensor& x, const Tensor& attention_mask) {
  return attention_mask.defined() ? x.masked_fill(attention_mask.logical_not().unsqueeze(-1), 0) : x;
}

struct Wav2Vec2EncoderImpl : EncoderImpl {
  double layerdrop;
  Positions pos_conv_embed;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;
  nn::Layers<Wav2Vec2EncoderLayer> layers;

  Wav2Vec2EncoderImpl(const SpeechConfig& c, Positions positions)
      : layerdrop(c.layerdrop),
        pos_conv_embed(register_module("pos_conv_embed", std::move(positions))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module("layers", nn::Layers<Wav2Vec2EncoderLayer>(
                                             c.num_hidden_layers, [&](int64_t) { return Wav2Vec2EncoderLayer(c); }))) {}

  Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) override {
    x = silence_padding(x, attention_mask);
    x = dropout(layer_norm(x + pos_conv_embed->forward(x.transpose(1, 2)).transpose(1, 2)));
    const Tensor mask = padding_mask(attention_mask, x.scalar_type());
    x = run(layers, x, layerdrop, record,
            [&](auto& layer, const Tensor& h) { return layer(h, mask, record.attentions); });
    if (record.hidden_states) record.hidden_states->push_back(x);
    return x;
  }
};

struct Wav2Vec2EncoderStableLayerNormImpl : EncoderImpl {
  double layerdrop;
  Positions pos_conv_embed;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;
  nn::Layers<Wav2Vec2EncoderLayerStableLayerNorm> layers;

  Wav2Vec2EncoderStableLayerNormImpl(const SpeechConfig& c, Positions positions,
                                     std::optional<int64_t> adapter_attn_dim = {})
      : layerdrop(c.layerdrop),
        pos_conv_embed(register_module("pos_conv_embed", std::move(positions))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module("layers",
                               nn::Layers<Wav2Vec2EncoderLayerStableLayerNorm>(c.num_hidden_layers, [&](int64_t) {
                                 return Wav2Vec2EncoderLayerStableLayerNorm(c, adapter_attn_dim);
                               }))) {}

  Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) override {
    x = silence_padding(x, attention_mask);
    x = dropout(x + pos_conv_embed->forward(x.transpose(1, 2)).transpose(1, 2));
    const Tensor mask = padding_mask(attention_mask, x.scalar_type());
    x = run(layers, x, layerdrop, record,
            [&](auto& layer, const Tensor& h) { return layer(h, mask, record.attentions); });
    x = layer_norm(x);
    if (record.hidden_states) record.hidden_states->push_back(x);
    return x;
  }
};

struct Wav2Vec2AdapterLayerImpl : nn::Module {
  nn::Conv1d conv;

  explicit Wav2Vec2AdapterLayerImpl(const SpeechConfig& c)
      : conv(register_module("conv", nn::Conv1d(*c.output_hidden_size, 2 * *c.output_hidden_size, c.adapter_kernel_size,
                                                nn::ConvOptions<1>{.stride = {c.adapter_stride}, .padding = {1}}))) {}

  Tensor forward(const Tensor& x) { return at::glu(conv(x), 1); }
};
TORCH_MODULE(Wav2Vec2AdapterLayer);

// Shortens the sequence for a decoder behind it.
struct Wav2Vec2AdapterImpl : nn::Module {
  double layerdrop;
  nn::Linear proj{nullptr};
  nn::LayerNorm proj_layer_norm{nullptr};
  nn::Layers<Wav2Vec2AdapterLayer> layers;

  explicit Wav2Vec2AdapterImpl(const SpeechConfig& c)
      : layerdrop(c.layerdrop),
        layers(register_module("layers", nn::Layers<Wav2Vec2AdapterLayer>(
                                             c.num_adapter_layers, [&](int64_t) { return Wav2Vec2AdapterLayer(c); }))) {
    if (*c.output_hidden_size != c.hidden_size) {
      proj = register_module("proj", nn::Linear(c.hidden_size, *c.output_hidden_size));
      proj_layer_norm = register_module("proj_layer_norm", nn::LayerNorm(*c.output_hidden_size));
    }
  }

  Tensor forward(Tensor x) {
    if (proj) x = proj_layer_norm(proj(x));
    x = x.transpose(1, 2);
    for (auto& layer : *layers) {
      if (!is_training() || at::rand({}).item<double>() > layerdrop) x = layer(x);
    }
    return x.transpose(1, 2);
  }
};
TORCH_MODULE(Wav2Vec2Adapter);

constexpr std::array<std::string_view, 4> kArguments = {"input_values", "attention_mask", "output_attentions",
                                                        "output_hidden_states"};

// Frames that the convolutions make of `lengths` samples.
inline Tensor frames_of(Tensor lengths, const SpeechConfig& c) {
  for (size_t i = 0; i < c.conv_kernel.size(); ++i)
    lengths = at::div(lengths - c.conv_kernel[i], c.conv_stride[i], "floor") + 1;
  return lengths;
}

// Frames that an adapter leaves of `lengths` frames.
inline Tensor adapted(Tensor lengths, const SpeechConfig& c) {
  if (c.add_adapter)
    for (int64_t i = 0; i < c.num_adapter_layers; ++i) lengths = at::div(lengths - 1, c.adapter_stride, "floor") + 1;
  return lengths;
}

// lengths [batch] -> [batch, frames] bool; a length of 0 counts from the end, as an index would.
inline Tensor mask_of(const Tensor& lengths, int64_t frames) {
  const Tensor last = at::where(lengths < 1, lengths - 1 + frames, lengths - 1);
  return at::arange(frames, at::kLong).unsqueeze(0) <= last.unsqueeze(1);
}

// The call's wave [batch, samples]; too short a one is an error.
inline Tensor checked_wave(const ModelInputs& inputs, const SpeechConfig& c) {
  const Tensor wave = inputs["input_values"];
  if (frames_of(at::scalar_tensor(wave.size(-1), at::kLong), c).item<int64_t>() < 1) {
    throw Error(ErrorCode::invalid_value,
                concat("input_values has ", wave.size(-1), " samples, too few for one frame; pad the wave"));
  }
  return wave;
}

// SpecAugment: marked frames (in training random ones too) become the learned embedding, random features 0.
inline Tensor augmented(Tensor x, const SpeechConfig& c, const Tensor& embedding, Tensor marked,
                        const Tensor& attention_mask, bool training) {
  if (!c.apply_spec_augment) return x;
  if (!marked.defined() && training && c.mask_time_prob > 0) {
    marked =
        span_mask(x.size(0), x.size(1), {c.mask_time_prob, c.mask_time_length, c.mask_time_min_masks}, attention_mask);
  }
  if (marked.defined()) {
    if (!embedding.defined()) {
      throw Error(ErrorCode::invalid_value,
                  "mask_time_indices need mask_time_prob or mask_feature_prob above 0 in the config");
    }
    x = at::where(marked.to(at::kBool).unsqueeze(-1), embedding.to(x.scalar_type()), x);
  }
  if (training && c.mask_feature_prob > 0) {
    const Tensor features =
        span_mask(x.size(0), x.size(2), {c.mask_feature_prob, c.mask_feature_length, c.mask_feature_min_masks});
    x = x.masked_fill(features.unsqueeze(1), 0);
  }
  return x;
}

// The base model of the family. A sibling makes it of other parts.
struct SpeechModel : PreTrainedModel {
  static constexpr bool supports_sdpa = true;
  static constexpr auto kBaseArguments = kArguments;
  const SpeechConfig& c;
  Wav2Vec2FeatureEncoder feature_extractor{nullptr};
  FeatureProjection feature_projection;
  Tensor masked_spec_embed;
  Encoder encoder;
  Wav2Vec2Adapter adapter{nullptr};

  std::span<const std::string_view> arguments() const override {
    static constexpr auto kAll = extend(kArguments, "mask_time_indices");
    return kAll;
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    const Tensor frames = feature_extractor(checked_wave(inputs, c));
    Tensor attention_mask = inputs.tensor("attention_mask");
    if (attention_mask.defined())
      attention_mask = mask_of(frames_of(attention_mask.to(at::kLong).sum(-1), c), frames.size(1));
    auto [x, features] = feature_projection->forward(frames);
    x = augmented(x, c, masked_spec_embed, inputs.tensor("mask_time_indices"), attention_mask, is_training());

    std::vector<Tensor> hidden_states, attentions;
    Record record;
    if (inputs.flag("output_hidden_states", c.output_hidden_states)) record.hidden_states = &hidden_states;
    if (inputs.flag("output_attentions", c.output_attentions)) record.attentions = &attentions;
    x = encoder->forward(x, attention_mask, record);
    if (adapter) x = adapter(x);
    ModelOutput output;
    output.set("last_hidden_state", x);
    output.set("extract_features", features);
    output.set("hidden_states", std::move(hidden_states));
    output.set("attentions", std::move(attentions));
    return output;
  }

  // Samples of each wave [batch].
  static Tensor lengths_of(const ModelInputs& inputs) {
    const Tensor attention_mask = inputs.tensor("attention_mask"), wave = inputs["input_values"];
    return attention_mask.defined() ? attention_mask.to(at::kLong).sum(-1)
                                    : at::full({wave.size(0)}, wave.size(1), at::kLong);
  }
  // Samples [batch] -> frames of the last hidden state [batch]
  Tensor feature_lengths(const Tensor& lengths) const { return adapted(frames_of(lengths, c), c); }

 protected:
  explicit SpeechModel(const SpeechConfig& config) : PreTrainedModel(config), c(config) {}

  void make(Wav2Vec2FeatureEncoder waves, FeatureProjection projection, Encoder layers) {
    feature_extractor = register_module("feature_extractor", std::move(waves));
    feature_projection = register_module("feature_projection", std::move(projection));
    if (c.mask_time_prob > 0 || c.mask_feature_prob > 0) make_spec_embed();
    encoder = register_module("encoder", std::move(layers));
    if (c.add_adapter) adapter = register_module("adapter", Wav2Vec2Adapter(c));
  }

  void make_spec_embed() {
    masked_spec_embed = register_parameter("masked_spec_embed", nn::uninitialised({c.hidden_size}));
  }
};

}  // namespace backplane::wav2vec2
