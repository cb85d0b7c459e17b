#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::wavlm {

using wav2vec2::SpeechConfig;

struct WavLMConfig : SpeechConfig {
  static constexpr const char* model_type = "wavlm";

  int64_t num_buckets = 320;
  int64_t max_bucket_distance = 800;
  int64_t num_ctc_classes = 80;

  WavLMConfig() { ctc_loss_reduction = "mean"; }

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
    field(BACKPLANE_FIELD(num_buckets));
    field(BACKPLANE_FIELD(max_bucket_distance));
    field(BACKPLANE_FIELD(num_ctc_classes));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
    if (num_buckets < 4 || max_bucket_distance <= num_buckets / 4) {
      throw Error(ErrorCode::bad_config,
                  concat("num_buckets (", num_buckets, ") has to be 4 or more, and max_bucket_distance (",
                         max_bucket_distance, ") above a quarter of it"));
    }
  }
};

}  // namespace backplane::wavlm
