#pragma once

#include "../clip/configuration_clip.h"

namespace backplane::clipseg {

struct CLIPSegTextConfig : clip::TextTowerConfig {
  static constexpr const char* model_type = "clipseg_text_model";
};

struct CLIPSegVisionConfig : clip::VisionTowerConfig {
  static constexpr const char* model_type = "clipseg_vision_model";
};

struct CLIPSegConfig : clip::ProjectedConfig<CLIPSegTextConfig, CLIPSegVisionConfig> {
  static constexpr const char* model_type = "clipseg";

  std::vector<int64_t> extract_layers = {3, 6, 9};
  int64_t reduce_dim = 64;
  int64_t decoder_num_attention_heads = 4;
  double decoder_attention_dropout = 0;
  std::string decoder_hidden_act = "quick_gelu";
  int64_t decoder_intermediate_size = 2048;
  int64_t conditional_layer = 0;
  bool use_complex_transposed_convolution = false;

  void fields(FieldVisitor& field) override {
    ProjectedConfig::fields(field);
    field(BACKPLANE_FIELD(extract_layers));
    field(BACKPLANE_FIELD(reduce_dim));
    field(BACKPLANE_FIELD(decoder_num_attention_heads));
    field(BACKPLANE_FIELD(decoder_attention_dropout));
    field(BACKPLANE_FIELD(decoder_hidden_act));
    field(BACKPLANE_FIELD(decoder_intermediate_size));
    field(BACKPLANE_FIELD(conditional_layer));
    field(BACKPLANE_FIELD(use_complex_transposed_convolution));
  }
};

}  // namespace backplane::clipseg
