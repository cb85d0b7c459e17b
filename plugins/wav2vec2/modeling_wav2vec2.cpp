// See modeling_wav2vec2.h and heads.h.

#include "modeling_wav2vec2.h"

#include "heads.h"

namespace backplane::wav2vec2 {

struct Wav2Vec2Model : SpeechModel {
  using Config = Wav2Vec2Config;
  static constexpr const char* kPrefix = "wav2vec2";

  explicit Wav2Vec2Model(const Wav2Vec2Config& c) : SpeechModel(c) {
    auto positions = std::make_shared<Wav2Vec2PositionalConvEmbeddingImpl>(c);
    Encoder layers;
    if (c.do_stable_layer_norm) {
      layers = std::make_shared<Wav2Vec2EncoderStableLayerNormImpl>(c, positions, c.adapter_attn_dim);
    } else {
      layers = std::make_shared<Wav2Vec2EncoderImpl>(c, positions);
    }
    make(Wav2Vec2FeatureEncoder(c), std::make_shared<Wav2Vec2FeatureProjectionImpl>(c), layers);
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct Wav2Vec2ForPreTraining : SpeechForPreTraining<Wav2Vec2Model> {
  using SpeechForPreTraining::SpeechForPreTraining;
};
struct Wav2Vec2ForCTC : SpeechForCTC<Wav2Vec2Model> {
  using SpeechForCTC::SpeechForCTC;
};
struct Wav2Vec2ForSequenceClassification : SpeechForSequenceClassification<Wav2Vec2Model> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};
struct Wav2Vec2ForAudioFrameClassification : SpeechForAudioFrameClassification<Wav2Vec2Model> {
  using SpeechForAudioFrameClassification::SpeechForAudioFrameClassification;
};
struct Wav2Vec2ForXVector : SpeechForXVector<Wav2Vec2Model> {
  using SpeechForXVector::SpeechForXVector;
};

// Deprecated in the reference, which ignores its attention_mask and its labels.
struct Wav2Vec2ForMaskedLM : SpeechHead<Wav2Vec2Model> {
  nn::Dropout dropout;
  nn::Linear lm_head{nullptr};

  explicit Wav2Vec2ForMaskedLM(const Wav2Vec2Config& c)
      : SpeechHead(c), dropout(register_module("dropout", nn::Dropout(c.final_dropout))) {
    if (!c.vocab_size) throw Error(ErrorCode::bad_config, "config.json: a language model head needs vocab_size");
    lm_head = register_module("lm_head", nn::Linear(c.hidden_size, *c.vocab_size));
  }

  ModelOutput compute(const ModelInputs& inputs) override {
    ModelInputs base_inputs = inputs.select(base->arguments());
    base_inputs.set("attention_mask", {});
    const auto base_output = base->forward(base_inputs);
    return result({}, lm_head(dropout(base_output["last_hidden_state"])), base_output);
  }
};

BACKPLANE_PLUGIN(wav2vec2, plugin) {
  plugin.config<Wav2Vec2Config>();
  plugin.tokenizer("Wav2Vec2CTCTokenizer", "");
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<Wav2Vec2Model>(Auto::Model);
  plugin.model<Wav2Vec2ForPreTraining>(Auto::ForPreTraining);
  plugin.model<Wav2Vec2ForMaskedLM>(Auto::WithLMHead);
  plugin.model<Wav2Vec2ForMaskedLM>(Auto::ForMaskedLM);
  plugin.model<Wav2Vec2ForSequenceClassification>(Auto::ForAudioClassification);
  plugin.model<Wav2Vec2ForCTC>(Auto::ForCTC);
  plugin.model<Wav2Vec2ForAudioFrameClassification>(Auto::ForAudioFrameClassification);
  plugin.model<Wav2Vec2ForXVector>(Auto::ForAudioXVector);
}

}  // namespace backplane::wav2vec2
