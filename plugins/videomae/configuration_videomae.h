#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::videomae {

struct VideoMAEConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "videomae";

  int64_t num_frames = 16;
  int64_t tubelet_size = 2;  // frames
  bool use_mean_pooling = true;
  int64_t decoder_num_attention_heads = 6;
  int64_t decoder_hidden_size = 384;
  int64_t decoder_num_hidden_layers = 4;
  int64_t decoder_intermediate_size = 1536;
  bool norm_pix_loss = true;

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(num_frames));
    field(BACKPLANE_FIELD(tubelet_size));
    field(BACKPLANE_FIELD(use_mean_pooling));
    field(BACKPLANE_FIELD(decoder_num_attention_heads));
    field(BACKPLANE_FIELD(decoder_hidden_size));
    field(BACKPLANE_FIELD(decoder_num_hidden_layers));
    field(BACKPLANE_FIELD(decoder_intermediate_size));
    field(BACKPLANE_FIELD(norm_pix_loss));
  }

  void validate() override {
    ViTImageConfig::validate();
    if (tubelet_size <= 0 || num_frames < tubelet_size) {
      throw Error(ErrorCode::bad_config,
                  concat("tubelets of ", tubelet_size, " frames do not fit num_frames (", num_frames, ")"));
    }
    check_divides("decoder_hidden_size", decoder_hidden_size, "decoder_num_attention_heads",
                  decoder_num_attention_heads);
  }
};

}  // namespace backplane::videomae
