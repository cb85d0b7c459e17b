#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::hubert {

using wav2vec2::SpeechConfig;

struct HubertConfig : SpeechConfig {
  static constexpr const char* model_type = "hubert";

  bool conv_pos_batch_norm = false;
  bool feat_proj_layer_norm = true;

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    wave_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(feat_extract_norm));
    field(BACKPLANE_FIELD(do_stable_layer_norm));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(conv_pos_batch_norm));
    field(BACKPLANE_FIELD(feat_proj_layer_norm));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
  }
};

}  // namespace backplane::hubert
