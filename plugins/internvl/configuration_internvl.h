#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::internvl {

struct InternVLVisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "internvl_vision";

  int64_t hidden_size = 1024;
  int64_t num_hidden_layers = 24;
  int64_t num_attention_heads = 16;
  bool attention_bias = false;
  bool use_qk_norm = false;
  int64_t intermediate_size = 4096;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0;
  double attention_dropout = 0;
  double projection_dropout = 0;
  double initializer_range = 0.02;
  std::string norm_type = "layer_norm";  // or rms_norm
  double layer_norm_eps = 1e-6;
  Value image_size = Value::List{448, 448};  // [height, width], or one number for both
  Value patch_size = Value::List{14, 14};
  int64_t num_channels = 3;
  bool use_mask_token = false;
  bool use_absolute_position_embeddings = true;
  double layer_scale_init_value = 0.1;
  bool use_mean_pooling = true;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(use_qk_norm));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(projection_dropout));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(norm_type));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(use_mask_token));
    field(BACKPLANE_FIELD(use_absolute_position_embeddings));
    field(BACKPLANE_FIELD(layer_scale_init_value));
    field(BACKPLANE_FIELD(use_mean_pooling));
  }

  void validate() override {
    for (auto* size : {&image_size, &patch_size}) {
      if (size->is_int()) *size = Value::List{*size, *size};
      const auto pair = size->as_int_list();
      if (pair.size() != 2 || pair[0] <= 0 || pair[1] <= 0 || pair[0] > 1 << 20 || pair[1] > 1 << 20) {
        throw Error(ErrorCode::bad_config, concat(size == &image_size ? "image_size" : "patch_size", " is ",
                                                  size->to_string(), "; expected [height, width] above 0"));
      }
    }
    if (norm_type != "layer_norm" && norm_type != "rms_norm")
      throw Error(ErrorCode::bad_config, concat("norm_type is '", norm_type, "'; expected 'layer_norm' or 'rms_norm'"));
    if (num_attention_heads <= 0 || hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
  }

  int64_t patches(size_t axis) const { return image_size.as_int_list()[axis] / patch_size.as_int_list()[axis]; }
};

struct InternVLConfig : PretrainedConfig {
  static constexpr const char* model_type = "internvl";

  InternVLVisionConfig vision_config;
  std::shared_ptr<PretrainedConfig> text_config;
  int64_t image_token_id = 151667;
  int64_t image_seq_length = 256;
  double downsample_ratio = 0.5;
  std::string projector_hidden_act = "gelu";
  Value vision_feature_layer = -1;
  std::string vision_feature_select_strategy = "default";

  // Patches of a block's side.
  int64_t block() const { return static_cast<int64_t>(1 / downsample_ratio); }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(text_config), "qwen2");
    field(BACKPLANE_FIELD(image_token_id));
    field(BACKPLANE_FIELD(image_seq_length));
    field(BACKPLANE_FIELD(downsample_ratio));
    field(BACKPLANE_FIELD(projector_hidden_act));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(vision_feature_select_strategy));
  }

  void validate() override {
    if (!text_config)
      throw Error(ErrorCode::bad_config, "text_config is null; expected a language model's configuration");
    if (!(downsample_ratio > 0 && downsample_ratio <= 1))
      throw Error(ErrorCode::bad_config,
                  concat("downsample_ratio is ", downsample_ratio, "; expected above 0, at most 1"));
  }
};

}  // namespace backplane::internvl
