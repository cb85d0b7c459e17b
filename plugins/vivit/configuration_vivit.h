#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::vivit {

struct VivitConfig : vit::ViTEncoderConfig {
  static constexpr const char* model_type = "vivit";

  int64_t image_size = 224;
  int64_t num_frames = 32;
  std::vector<int64_t> tubelet_size = {2, 16, 16};  // frames, height, width
  int64_t num_channels = 3;

  VivitConfig() {
    hidden_act = "gelu_fast";
    layer_norm_eps = 1e-6;
  }

  void fields(FieldVisitor& field) override {
    ViTEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(num_frames));
    field(BACKPLANE_FIELD(tubelet_size));
    field(BACKPLANE_FIELD(num_channels));
  }

  void validate() override {
    ViTEncoderConfig::validate();
    const auto& t = tubelet_size;
    if (t.size() != 3 || t[0] <= 0 || t[1] <= 0 || t[2] <= 0 || t[0] > num_frames || t[1] > image_size ||
        t[2] > image_size) {
      throw Error(ErrorCode::bad_config, concat("tubelet_size does not fit ", num_frames, " frames of ", image_size,
                                                " x ", image_size, " pixels"));
    }
  }

  int64_t tubelets() const {
    return (image_size / tubelet_size[2]) * (image_size / tubelet_size[1]) * (num_frames / tubelet_size[0]);
  }
};

}  // namespace backplane::vivit
