// UniSpeech-SAT: Chen et al. 2021, https://arxiv.org/abs/2110.05752
// UniSpeech-SAT is wav2vec 2.0 except: no adapters, always an embedding for masked frames, and a pre-training head with
// speakers. Reference: transformers, models/unispeech_sat/modeling_unispeech_sat.py

#include "configuration_unispeech_sat.h"

#include "../wav2vec2/heads.h"

namespace backplane::unispeech_sat {

using namespace wav2vec2;

struct UniSpeechSatModel : SpeechModel {
  using Config = UniSpeechSatConfig;
  static constexpr const char* kPrefix = "unispeech_sat";

  explicit UniSpeechSatModel(const UniSpeechSatConfig& c) : SpeechModel(c) {
    auto positions = std::make_shared<Wav2Vec2PositionalConvEmbeddingImpl>(c);
    Encoder layers;
    if (c.do_stable_layer_norm) {
      layers = std::make_shared<Wav2Vec2EncoderStableLayerNormImpl>(c, positions);
    } else {
      layers = std::make_shared<Wav2Vec2EncoderImpl>(c, positions);
    }
    make(Wav2Vec2FeatureEncoder(c), std::make_shared<Wav2Vec2FeatureProjectionImpl>(c), layers);
    if (!masked_spec_embed.defined()) make_spec_embed();
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct UniSpeechSatForCTC : SpeechForCTC<UniSpeechSatModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct UniSpeechSatForSequenceClassification : SpeechForSequenceClassification<UniSpeechSatModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};
struct UniSpeechSatForAudioFrameClassification : SpeechForAudioFrameClassification<UniSpeechSatModel> {
  using SpeechForAudioFrameClassification::SpeechForAudioFrameClassification;
};
struct UniSpeechSatForXVector : SpeechForXVector<UniSpeechSatModel> {
  using SpeechForXVector::SpeechForXVector;
};

// The reference gives the features as they are and has no loss; the parameters are those of published checkpoints.
struct UniSpeechSatForPreTraining : SpeechHead<UniSpeechSatModel> {
  nn::Dropout dropout_features;
  nn::GumbelVectorQuantizer quantizer;
  nn::Linear project_q, project_hid, speaker_proj;
  Tensor label_embeddings_concat;  // [clusters, codevector_dim]
  nn::LayerNorm layer_norm_for_extract;

  explicit UniSpeechSatForPreTraining(const UniSpeechSatConfig& c)
      : SpeechHead(c),
        dropout_features(register_module("dropout_features", nn::Dropout(c.feat_quantizer_dropout))),
        quantizer(
            register_module("quantizer", nn::GumbelVectorQuantizer(c.hidden_size, c.num_codevector_groups,
                                                                   c.num_codevectors_per_group, c.codevector_dim))),
        project_q(register_module("project_q", nn::Linear(c.codevector_dim, c.proj_codevector_dim))),
        project_hid(register_module("project_hid", nn::Linear(c.hidden_size, c.proj_codevector_dim))),
        speaker_proj(register_module("speaker_proj", nn::Linear(c.hidden_size, c.codevector_dim))),
        label_embeddings_concat(
            register_parameter("label_embeddings_concat", nn::uninitialised({c.num_clusters, c.codevector_dim}))),
        layer_norm_for_extract(
            register_module("layer_norm_for_extract", nn::LayerNorm(c.hidden_size, c.layer_norm_eps))) {}

  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base_output = base->forward(inputs);
    ModelOutput output;
    output.set("logits", dropout_features(base_output["extract_features"]));
    output.set("projected_states", base_output["last_hidden_state"]);
    output.pass_on(base_output);
    return output;
  }
};

BACKPLANE_PLUGIN(unispeech_sat, plugin) {
  plugin.config<UniSpeechSatConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<UniSpeechSatModel>(Auto::Model);
  plugin.model<UniSpeechSatForPreTraining>(Auto::ForPreTraining);
  plugin.model<UniSpeechSatForCTC>(Auto::ForCTC);
  plugin.model<UniSpeechSatForSequenceClassification>(Auto::ForAudioClassification);
  plugin.model<UniSpeechSatForAudioFrameClassification>(Auto::ForAudioFrameClassification);
  plugin.model<UniSpeechSatForXVector>(Auto::ForAudioXVector);
}

}  // namespace backplane::unispeech_sat
