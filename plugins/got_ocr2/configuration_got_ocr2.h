#pragma once

#include "../llava/configuration_llava.h"

namespace backplane::got_ocr2 {

struct GotOcr2VisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "";

  int64_t hidden_size = 768;
  int64_t output_channels = 256;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t image_size = 1024;
  int64_t patch_size = 16;
  std::string hidden_act = "gelu";
  double layer_norm_eps = 1e-6;
  double attention_dropout = 0;
  double initializer_range = 1e-10;
  bool qkv_bias = true;
  bool use_abs_pos = true;
  bool use_rel_pos = true;
  int64_t window_size = 14;  // patches a side
  std::vector<int64_t> global_attn_indexes = {2, 5, 8, 11};
  int64_t mlp_dim = 3072;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(output_channels));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(qkv_bias));
    field(BACKPLANE_FIELD(use_abs_pos));
    field(BACKPLANE_FIELD(use_rel_pos));
    field(BACKPLANE_FIELD(window_size));
    field(BACKPLANE_FIELD(global_attn_indexes));
    field(BACKPLANE_FIELD(mlp_dim));
  }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0 || patch_size <= 0 ||
        image_size < patch_size || image_size / patch_size > 1 << 15 || window_size < 0 || window_size > 1 << 15) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") has to be a multiple of num_attention_heads (",
                         num_attention_heads, "), image_size (", image_size, ") at least patch_size (", patch_size,
                         "), and window_size (", window_size, ") 0 or more"));
    }
  }
};

struct GotOcr2Config : PretrainedConfig {
  static constexpr const char* model_type = "got_ocr2";

  GotOcr2VisionConfig vision_config;
  std::shared_ptr<PretrainedConfig> text_config;
  int64_t image_token_index = 151859;
  int64_t image_seq_length = 576;

  GotOcr2Config() { pad_token_id = -1; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(text_config), "qwen2");
    field(BACKPLANE_FIELD(image_token_index));
    field.alias("image_token_id", "image_token_index");
    field(BACKPLANE_FIELD(image_seq_length));
  }

  void validate() override {
    if (!text_config)
      throw Error(ErrorCode::bad_config, "text_config is null; expected a language model's configuration");
  }
};

}  // namespace backplane::got_ocr2
