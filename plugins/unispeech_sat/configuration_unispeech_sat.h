#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::unispeech_sat {

using wav2vec2::SpeechConfig;

struct UniSpeechSatConfig : SpeechConfig {
  static constexpr const char* model_type = "unispeech-sat";

  int64_t num_clusters = 504;

  UniSpeechSatConfig() { ctc_loss_reduction = "mean"; }

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    wave_fields(field);
    quantizer_fields(field);
    xvector_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(feat_extract_norm));
    field(BACKPLANE_FIELD(do_stable_layer_norm));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(feat_quantizer_dropout));
    field(BACKPLANE_FIELD(num_clusters));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
  }
};

}  // namespace backplane::unispeech_sat
