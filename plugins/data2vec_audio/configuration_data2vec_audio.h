#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::data2vec_audio {

using wav2vec2::SpeechConfig;

struct Data2VecAudioConfig : SpeechConfig {
  static constexpr const char* model_type = "data2vec-audio";

  int64_t conv_pos_kernel_size = 19;

  Data2VecAudioConfig() { num_conv_pos_embeddings = 5; }

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    wave_fields(field);
    adapter_fields(field);
    xvector_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(conv_pos_kernel_size));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
    if (conv_pos_kernel_size <= 0)
      throw Error(ErrorCode::bad_config,
                  concat("conv_pos_kernel_size is ", conv_pos_kernel_size, "; expected a number above 0"));
  }
};

}  // namespace backplane::data2vec_audio
