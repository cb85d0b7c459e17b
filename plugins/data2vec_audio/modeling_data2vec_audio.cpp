// data2vec, of sounds: Baevski et al. 2022, https://arxiv.org/abs/2202.03555
// data2vec-audio is wav2vec 2.0 except: every convolution of the wave has a layer norm, the positions are a stack of
// convolutions with norms that have no parameters, and the layers are post-norm only. Reference: transformers,
// models/data2vec/modeling_data2vec_audio.py

#include "configuration_data2vec_audio.h"

#include "../wav2vec2/heads.h"

namespace backplane::data2vec_audio {

using namespace wav2vec2;

struct Data2VecAudioPositionalConvLayerImpl : nn::Module {
  int64_t size;
  nn::Conv1d conv;
  Activation act;

  explicit Data2VecAudioPositionalConvLayerImpl(const Data2VecAudioConfig& c)
      : size(c.hidden_size),
        conv(register_module("conv", nn::Conv1d(c.hidden_size, c.hidden_size, c.conv_pos_kernel_size,
                                                nn::ConvOptions<1>{.padding = {c.conv_pos_kernel_size / 2},
                                                                   .groups = c.num_conv_pos_embedding_groups}))),
        act(activation(c.feat_extract_activation)) {}

  // x [batch, hidden, frames]
  Tensor forward(const Tensor& x) {
    return act(at::layer_norm(as_long_as(conv(x), x).transpose(1, 2), {size}).transpose(1, 2));
  }
};
TORCH_MODULE(Data2VecAudioPositionalConvLayer);

struct Data2VecAudioPositionalConvEmbeddingImpl : PositionsImpl {
  nn::Layers<Data2VecAudioPositionalConvLayer> layers;

  explicit Data2VecAudioPositionalConvEmbeddingImpl(const Data2VecAudioConfig& c)
      : layers(register_module(
            "layers", nn::Layers<Data2VecAudioPositionalConvLayer>(
                          c.num_conv_pos_embeddings, [&](int64_t) { return Data2VecAudioPositionalConvLayer(c); }))) {}

  Tensor forward(const Tensor& x) override {
    Tensor y = x;
    for (auto& layer : *layers) y = layer(y);
    return y;
  }
};

struct Data2VecAudioModel : SpeechModel {
  using Config = Data2VecAudioConfig;
  static constexpr const char* kPrefix = "data2vec_audio";

  explicit Data2VecAudioModel(const Data2VecAudioConfig& c) : SpeechModel(c) {
    make(Wav2Vec2FeatureEncoder(c, [](int64_t) { return nn::ConvNorm::layer; }),
         std::make_shared<Wav2Vec2FeatureProjectionImpl>(c),
         std::make_shared<Wav2Vec2EncoderImpl>(c, std::make_shared<Data2VecAudioPositionalConvEmbeddingImpl>(c)));
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct Data2VecAudioForCTC : SpeechForCTC<Data2VecAudioModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct Data2VecAudioForSequenceClassification : SpeechForSequenceClassification<Data2VecAudioModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};
struct Data2VecAudioForAudioFrameClassification : SpeechForAudioFrameClassification<Data2VecAudioModel> {
  using SpeechForAudioFrameClassification::SpeechForAudioFrameClassification;
};
struct Data2VecAudioForXVector : SpeechForXVector<Data2VecAudioModel> {
  using SpeechForXVector::SpeechForXVector;
};

BACKPLANE_PLUGIN(data2vec_audio, plugin) {
  plugin.config<Data2VecAudioConfig>();
  plugin.tokenizer("Wav2Vec2CTCTokenizer", "");
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.model<Data2VecAudioModel>(Auto::Model);
  plugin.model<Data2VecAudioForCTC>(Auto::ForCTC);
  plugin.model<Data2VecAudioForSequenceClassification>(Auto::ForAudioClassification);
  plugin.model<Data2VecAudioForAudioFrameClassification>(Auto::ForAudioFrameClassification);
  plugin.model<Data2VecAudioForXVector>(Auto::ForAudioXVector);
}

}  // namespace backplane::data2vec_audio
