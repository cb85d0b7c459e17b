// UniSpeech: Wang et al. 2021, https://arxiv.org/abs/2101.07597
// UniSpeech is wav2vec 2.0 except: no adapters, and a pre-training head with phonemes. Reference: transformers,
// models/unispeech/modeling_unispeech.py

#include "configuration_unispeech.h"

#include "../wav2vec2/heads.h"

namespace backplane::unispeech {

using namespace wav2vec2;

struct UniSpeechModel : SpeechModel {
  using Config = UniSpeechConfig;
  static constexpr const char* kPrefix = "unispeech";

  explicit UniSpeechModel(const UniSpeechConfig& c) : SpeechModel(c) {
    auto positions = std::make_shared<Wav2Vec2PositionalConvEmbeddingImpl>(c);
    Encoder layers;
    if (c.do_stable_layer_norm) {
      layers = std::make_shared<Wav2Vec2EncoderStableLayerNormImpl>(c, positions);
    } else {
      layers = std::make_shared<Wav2Vec2EncoderImpl>(c, positions);
    }
    make(Wav2Vec2FeatureEncoder(c), std::make_shared<Wav2Vec2FeatureProjectionImpl>(c), layers);
  }
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = kPrefix}; }
};

struct UniSpeechForCTC : SpeechForCTC<UniSpeechModel> {
  using SpeechForCTC::SpeechForCTC;
};
struct UniSpeechForSequenceClassification : SpeechForSequenceClassification<UniSpeechModel> {
  using SpeechForSequenceClassification::SpeechForSequenceClassification;
};

// A quantised frame takes the place of some predicted ones; the reference has no loss.
struct UniSpeechForPreTraining : SpeechHead<UniSpeechModel> {
  nn::Dropout dropout_features;
  nn::GumbelVectorQuantizer quantizer;
  nn::Linear project_q, project_hid, ctc_proj;

  explicit UniSpeechForPreTraining(const UniSpeechConfig& c)
      : SpeechHead(c),
        dropout_features(register_module("dropout_features", nn::Dropout(c.feat_quantizer_dropout))),
        quantizer(
            register_module("quantizer", nn::GumbelVectorQuantizer(c.conv_dim.back(), c.num_codevector_groups,
                                                                   c.num_codevectors_per_group, c.codevector_dim))),
        project_q(register_module("project_q", nn::Linear(c.codevector_dim, c.proj_codevector_dim))),
        project_hid(register_module("project_hid", nn::Linear(c.proj_codevector_dim, c.hidden_size))),
        ctc_proj(register_module("ctc_proj", nn::Linear(c.hidden_size, c.num_ctc_classes))) {}

  std::span<const std::string_view> arguments() const override { return kArguments; }

  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base_output = base->forward(inputs);
    const auto [codes, perplexity] = quantizer(dropout_features(base_output["extract_features"]));
    ModelOutput output;
    output.set("projected_states", base_output["last_hidden_state"]);
    output.set("projected_quantized_states", project_hid(project_q(codes)));
    output.set("codevector_perplexity", perplexity);
    output.pass_on(base_output);
    return output;
  }
};

BACKPLANE_PLUGIN(unispeech, plugin) {
  plugin.config<UniSpeechConfig>();
  plugin.preprocessor(Auto::FeatureExtractor, "Wav2Vec2FeatureExtractor");
  plugin.preprocessor(Auto::Processor, "Wav2Vec2Processor");
  plugin.model<UniSpeechModel>(Auto::Model);
  plugin.model<UniSpeechForPreTraining>(Auto::ForPreTraining);
  plugin.model<UniSpeechForCTC>(Auto::ForCTC);
  plugin.model<UniSpeechForSequenceClassification>(Auto::ForAudioClassification);
}

}  // namespace backplane::unispeech
