#pragma once

#include "../vit/configuration_vit.h"

namespace backplane::vit_mae {

struct ViTMAEConfig : vit::ViTImageConfig {
  static constexpr const char* model_type = "vit_mae";

  int64_t decoder_num_attention_heads = 16;
  int64_t decoder_hidden_size = 512;
  int64_t decoder_num_hidden_layers = 8;
  int64_t decoder_intermediate_size = 2048;
  double mask_ratio = 0.75;
  bool norm_pix_loss = false;

  void fields(FieldVisitor& field) override {
    ViTImageConfig::fields(field);
    field(BACKPLANE_FIELD(decoder_num_attention_heads));
    field(BACKPLANE_FIELD(decoder_hidden_size));
    field(BACKPLANE_FIELD(decoder_num_hidden_layers));
    field(BACKPLANE_FIELD(decoder_intermediate_size));
    field(BACKPLANE_FIELD(mask_ratio));
    field(BACKPLANE_FIELD(norm_pix_loss));
  }

  void validate() override {
    ViTImageConfig::validate();
    check_divides("decoder_hidden_size", decoder_hidden_size, "decoder_num_attention_heads",
                  decoder_num_attention_heads);
    if (!(mask_ratio >= 0 && mask_ratio <= 1))
      throw Error(ErrorCode::bad_config, concat("mask_ratio is ", mask_ratio, "; it must lie between 0 and 1"));
  }
};

}  // namespace backplane::vit_mae
