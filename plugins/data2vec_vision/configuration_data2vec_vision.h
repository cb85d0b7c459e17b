#pragma once

#include "../beit/configuration_beit.h"

namespace backplane::data2vec_vision {

struct Data2VecVisionConfig : beit::BeitEncoderConfig {
  static constexpr const char* model_type = "data2vec-vision";

  Data2VecVisionConfig() { out_indices = {3, 5, 7, 11}; }

  void fields(FieldVisitor& field) override {
    BeitEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(out_indices));
  }
};

}  // namespace backplane::data2vec_vision
