// SEW: Wu et al. 2021, https://arxiv.org/abs/2109.06870
// SEW is wav2vec 2.0 except: the layers see the frames squeezed by squeeze_factor, and their result is stretched again;
// the features are projected only where their size differs. Reference: transformers, models/sew/modeling_sew.py

#include "configuration_sew.h"

#include "../wav2vec2/heads.h"

namespace backplane::sew {

using namespace wav2vec2;

struct SEWUpsamplingImpl : nn::Module {
  int64_t factor;
  nn::Linear projection;
  Activation act;

  explicit SEWUpsamplingImpl(const SEWConfig& c)
      : factor(c.squeeze_factor),
        projection(register_module("projection", nn::Linear(c.hidden_size, c.hidden_size * c.squeeze_factor))),
        act(activation(c.feat_extract_activation)) {}

  // x [batch, frames, hidden] -> [batch, frames * factor, hidden]
  Tensor forward(const Tensor& x) { return act(projection(x)).reshape({x.size(0), x.size(1) * factor, x.size(2)}); }
};
TORCH_MODULE(SEWUpsampling);

struct SEWPositionalConvEmbeddingImpl : nn::Module {
  bool is_even;
  nn::WeightNormConv1d conv;
  Activation act;

  explicit SEWPositionalConvEmbeddingImpl(const SEWConfig& c)
      : is_even(c.num_conv_pos_embeddings % 2 == 0),
        conv(register_module("conv", nn::WeightNormConv1d(c.hidden_size, c.hidden_size, c.num_conv_pos_embeddings,
                                                          nn::ConvOptions<1>{.stride = {c.squeeze_factor},
                                                                             .padding = {c.num_conv_pos_embeddings / 2},
                                                                             .groups = c.num_conv_pos_embedding_groups},
                                                          2))),
        act(activation(c.feat_extract_activation)) {}

  Tensor forward(const Tensor& x) {
    const Tensor y = conv(x);
    return act(is_even ? y.slice(2, 0, -1) : y);
  }
};
TORCH_MODULE(SEWPositionalConvEmbedding);

struct SEWEncoderImpl : EncoderImpl {
  int64_t factor;
  double layerdrop;
  SEWPositionalConvEmbedding pos_conv_embed;
  nn::LayerNorm layer_norm;
  nn::Dropout dropout;
  nn::Layers<Wav2Vec2EncoderLayer> layers;
  SEWUpsampling upsample;

  explicit SEWEncoderImpl(const SEWConfig& c)
      : factor(c.squeeze_factor),
        layerdrop(c.layerdrop),
        pos_conv_embed(register_module("pos_conv_embed", SEWPositionalConvEmbedding(c))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))),
        dropout(register_module("dropout", nn::Dropout(c.hidden_dropout))),
        layers(register_module("layers", nn::Layers<Wav2Vec2EncoderLayer>(
                                             c.num_hidden_layers, [&](int64_t) { return Wav2Vec2EncoderLayer(c); }))),
        upsample(register_module("upsample", SEWUpsampling(c))) {}

  Tensor forward(Tensor x, const Tensor& attention_mask, const Record& record) override {
    const int64_t frames = x.size(1);
    if (frames < factor)
      throw Error(ErrorCode::invalid_value,
                  concat("the sound has ", frames, " frames, fewer than squeeze_factor (", factor, "); pad it"));
    x = silence_padding(x, attention_mask).transpose(1, 2);
    Tensor mask;
    if (attention_mask.defined()) {
      const Tensor lengths = at::div(attention_mask.to(at::kLong).sum(-1), factor, "floor");
      mask = padding_mask((at::arange(frames / factor, at::kLong).unsqueeze(0) < lengths.unsqueeze(1)).to(at::kLong),
                          x.scalar_type());
    }
    const Tensor positions = pos_conv_embed(x), pooled = at::avg_pool1d(x, {factor}, {factor});
    const int64_t shorter = std::min(positions.size(2), pooled.size(2));
    x = (pooled.slice(2, 0, shorter) + positions.slice(2, 0, shorter)).transpose(1, 2);
    x = dropout(layer_norm(x));
    x = run(layers, x, layerdrop, record,
            [&](auto& layer, const Tensor& h) { return layer(h, mask, record.attentions); });
    if (record.hidden_states) record.hidden_states->push_back(x);
    x = upsample(x);
    return x.size(1) < frames ? at::constant_pad_nd(x, {0, 0, 0, frames - x.size(1)}) : x;
  }
};

struct SEWModel : PreTrainedModel {
  using Config = SEWConfig;
  static constexpr bool supports_sdpa = true;
  static constexpr const char* kPrefix = "sew";
  static constexpr auto kBaseArguments = kArguments;

  const SEWConfig& c;
  Wav2Vec2FeatureEncoder feature_extractor;
  nn::LayerNorm layer_norm;
  nn::Linear feature_projection{nullptr};
  nn::Dropout feature_dropout;
  Tensor masked_spec_embed;
  std::shared_ptr<SEWEncoderImpl> encoder;

  explicit SEWModel(const SEWConfig& config)
      : PreTrainedModel(config),
        c(config),
        feature_extractor(register_module("feature_extractor", Wav2Vec2FeatureEncoder(c))),
        layer_norm(register_module("layer_norm", nn::LayerNorm(c.conv_dim.back(), c.layer_norm_eps))),
        feature_dropout(register_module("feature_dropout", nn::Dropout(c.feat_proj_dropout))),
        encoder(register_module("encoder", std::make_shared<SEWEncoderImpl>(c))) {
    if (c.conv_dim.back() != c.hidden_size)
      feature_projection = register_module("feature_projection", nn::Linear(c.conv_dim.back(), c.hidden_size));
    if (c.mask_time_prob > 0 || c.mask_feature_prob > 0)
      masked_spec_embed = register_parameter("masked_spec_embed", nn::uninitialised({c.hidden_size}));
  }

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
  std::span<const std::string_view> arguments() const override {
    static constexpr auto kAll = extend(kArguments, "mask_time_indices");
    return kAll;
  }
  static Tensor lengths_of(const ModelInputs& inputs) { return SpeechModel::lengths_of(inputs); }
  Tensor feature_lengths(const Tensor& lengths) const { return frames_of(lengths, c); }

  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = layer_norm(feature_extractor(checked_wave(inputs, c)));
    if (feature_projection) x = feature_projection(x);
    x = feature_dropout(x);
    Tensor attention_mask = inputs.tensor("attention_mask");
    if (attention_mask.defined())
      attention_mask = mask_of(feature_lengths(attention_mask.to(at::kLong).sum(-1)), x.size(1));
    x = augmented(x, c, masked_spec_embed, inputs.tensor("mask_time_indices"), {}, is_training());

    std::vector<Tensor> hidden_states, attentions;
    Record record;
    if (inputs.flag("output_hidden_states", c.output_hidden_states)) record.hidden_states = &hidden_states;
    if (inputs.flag("output_attentions", c.output_attentions)) record.attentions = &attentions;
    ModelOutput output;
    output.set("last_hidden_state", encoder->forward(x, attention_mask, record));
    output.set("hidden_states", std::move(hidden_states));
    output.set("attentions", std::move(attentions));
    return output;
  }
};

struct SEWForCTC : SpeechForCTC<SEWModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct SEWForSequenceClassification : SpeechForSequenceClassification<SEWModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};

BACKPLANE_PLUGIN(sew, plugin) {
  plugin.config<SEWConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<SEWModel>(Auto::Model);
  plugin.model<SEWForCTC>(Auto::ForCTC);
  plugin.model<SEWForSequenceClassification>(Auto::ForAudioClassification);
}

}  // namespace backplane::sew
