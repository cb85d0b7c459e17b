// HuBERT: Hsu et al. 2021, https://arxiv.org/abs/2106.07447
// HuBERT is wav2vec 2.0 except: the features may go to the layers without a norm, and batch norm may stand in for the
// weight norm of the positions. Reference: transformers, models/hubert/modeling_hubert.py

#include "configuration_hubert.h"

#include "../wav2vec2/heads.h"

namespace backplane::hubert {

using namespace wav2vec2;

struct HubertPositionalConvEmbeddingImpl : PositionsImpl {
  nn::Conv1d conv{nullptr};
  nn::WeightNormConv1d normed_conv{nullptr};
  nn::BatchNorm batch_norm{nullptr};
  Activation act;

  explicit HubertPositionalConvEmbeddingImpl(const HubertConfig& c) : act(activation(c.feat_extract_activation)) {
    const nn::ConvOptions<1> options{.padding = {c.num_conv_pos_embeddings / 2},
                                     .groups = c.num_conv_pos_embedding_groups};
    if (c.conv_pos_batch_norm) {
      conv = register_module("conv", nn::Conv1d(c.hidden_size, c.hidden_size, c.num_conv_pos_embeddings, options));
      batch_norm = register_module("batch_norm", nn::BatchNorm(c.hidden_size));
    } else {
      normed_conv = register_module(
          "conv", nn::WeightNormConv1d(c.hidden_size, c.hidden_size, c.num_conv_pos_embeddings, options, 2));
    }
  }

  Tensor forward(const Tensor& x) override { return act(as_long_as(conv ? conv(batch_norm(x)) : normed_conv(x), x)); }
};

struct HubertFeatureProjectionImpl : FeatureProjectionImpl {
  nn::LayerNorm layer_norm{nullptr};
  nn::Linear projection;
  nn::Dropout dropout;

  explicit HubertFeatureProjectionImpl(const HubertConfig& c)
      : projection(register_module("projection", nn::Linear(c.conv_dim.back(), c.hidden_size))),
        dropout(register_module("dropout", nn::Dropout(c.feat_proj_dropout))) {
    if (c.feat_proj_layer_norm)
      layer_norm = register_module("layer_norm", nn::LayerNorm(c.conv_dim.back(), c.layer_norm_eps));
  }

  std::pair<Tensor, Tensor> forward(const Tensor& x) override {
    return {dropout(projection(layer_norm ? layer_norm(x) : x)), Tensor()};
  }
};

struct HubertModel : SpeechModel {
  using Config = HubertConfig;
  static constexpr const char* kPrefix = "hubert";

  explicit HubertModel(const HubertConfig& c) : SpeechModel(c) {
    auto positions = std::make_shared<HubertPositionalConvEmbeddingImpl>(c);
    Encoder layers;
    if (c.do_stable_layer_norm) {
      layers = std::make_shared<Wav2Vec2EncoderStableLayerNormImpl>(c, positions);
    } else {
      layers = std::make_shared<Wav2Vec2EncoderImpl>(c, positions);
    }
    make(Wav2Vec2FeatureEncoder(c), std::make_shared<HubertFeatureProjectionImpl>(c), layers);
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct HubertForCTC : SpeechForCTC<HubertModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct HubertForSequenceClassification : SpeechForSequenceClassification<HubertModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};

BACKPLANE_PLUGIN(hubert, plugin) {
  plugin.config<HubertConfig>();
  plugin.tokenizer("Wav2Vec2CTCTokenizer", "");
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<HubertModel>(Auto::Model);
  plugin.model<HubertForCTC>(Auto::ForCTC);
  plugin.model<HubertForSequenceClassification>(Auto::ForAudioClassification);
}

}  // namespace backplane::hubert
