#pragma once

#include <backplane/model.h>

namespace backplane::pixtral {

struct PixtralVisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "pixtral";

  int64_t hidden_size = 1024;
  int64_t intermediate_size = 4096;
  int64_t num_hidden_layers = 24;
  int64_t num_attention_heads = 16;
  int64_t num_channels = 3;
  int64_t patch_size = 16;
  int64_t image_size = 1024;
  double attention_dropout = 0;
  std::string hidden_act = "gelu";
  double rope_theta = 10000;
  int64_t head_dim = 64;  // always hidden_size / num_attention_heads
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(initializer_range));
  }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0 || patch_size <= 0 ||
        image_size < patch_size) {
      throw Error(
          ErrorCode::bad_config,
          concat("hidden_size (", hidden_size, ") has to be a multiple of num_attention_heads (", num_attention_heads,
                 "), and image_size (", image_size, ") at least patch_size (", patch_size, "), which is above 0"));
    }
    head_dim = hidden_size / num_attention_heads;
  }
};

}  // namespace backplane::pixtral
