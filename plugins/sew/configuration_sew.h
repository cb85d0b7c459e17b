#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::sew {

using wav2vec2::SpeechConfig;

struct SEWConfig : SpeechConfig {
  static constexpr const char* model_type = "sew";

  int64_t squeeze_factor = 2;

  SEWConfig() {
    conv_dim = {64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512};
    conv_stride = {5, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1};
    conv_kernel = {10, 3, 1, 3, 1, 3, 1, 3, 1, 2, 1, 2, 1};
    num_feat_extract_layers = 13;
    ctc_loss_reduction = "mean";
  }

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    wave_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(feat_extract_norm));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(squeeze_factor));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
    if (squeeze_factor <= 0)
      throw Error(ErrorCode::bad_config, concat("squeeze_factor is ", squeeze_factor, "; expected a number above 0"));
  }
};

}  // namespace backplane::sew
