#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::audio_spectrogram_transformer {

struct ASTConfig : vit::ViTEncoderConfig {
  static constexpr const char* model_type = "audio-spectrogram-transformer";

  int64_t patch_size = 16;
  int64_t frequency_stride = 10;
  int64_t time_stride = 10;
  int64_t num_mel_bins = 128;

  ASTConfig() { max_length = 1024; }  // frames

  void fields(FieldVisitor& field) override {
    ViTEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(frequency_stride));
    field(BACKPLANE_FIELD(time_stride));
    field(BACKPLANE_FIELD(num_mel_bins));
  }

  // Rows (frequencies) times columns (times).
  int64_t patches() const {
    return ((num_mel_bins - patch_size) / frequency_stride + 1) *
           ((max_length.as_int() - patch_size) / time_stride + 1);
  }

  void validate() override {
    ViTEncoderConfig::validate();
    if (patch_size <= 0 || frequency_stride <= 0 || time_stride <= 0 || num_mel_bins < patch_size ||
        max_length.as_int() < patch_size) {
      throw Error(ErrorCode::bad_config,
                  concat("patches of ", patch_size, " at strides of ", frequency_stride, " and ", time_stride,
                         " do not fit ", num_mel_bins, " mel bins and ", max_length.to_string(), " frames"));
    }
  }
};

}  // namespace backplane::audio_spectrogram_transformer
