#pragma once

#include "../segformer/configuration_segformer.h"

namespace backplane::glpn {

struct GLPNConfig : segformer::SegformerEncoderConfig {
  static constexpr const char* model_type = "glpn";

  double max_depth = 10;  // metres
  int64_t head_in_index = -1;

  GLPNConfig() { decoder_hidden_size = 64; }

  void fields(FieldVisitor& field) override {
    SegformerEncoderConfig::fields(field);
    field(BACKPLANE_FIELD(max_depth));
    field(BACKPLANE_FIELD(head_in_index));
  }

  void validate() override {
    SegformerEncoderConfig::validate();
    if (head_in_index >= num_encoder_blocks || head_in_index < -num_encoder_blocks) {
      throw Error(ErrorCode::bad_config,
                  concat("head_in_index is ", head_in_index, "; there are ", num_encoder_blocks, " stages"));
    }
  }
};

}  // namespace backplane::glpn
