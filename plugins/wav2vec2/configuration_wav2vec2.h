#pragma once

#include "speech_config.h"

namespace backplane::wav2vec2 {

struct Wav2Vec2Config : SpeechConfig {
  static constexpr const char* model_type = "wav2vec2";

  std::optional<int64_t> adapter_attn_dim;

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    wave_fields(field);
    quantizer_fields(field);
    adapter_fields(field);
    xvector_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(feat_extract_norm));
    field(BACKPLANE_FIELD(do_stable_layer_norm));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(feat_quantizer_dropout));
    field(BACKPLANE_FIELD(adapter_attn_dim));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
  }
};

}  // namespace backplane::wav2vec2
