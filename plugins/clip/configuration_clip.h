#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::clip {

// The keys of a text tower of CLIP and those after it.
struct TextTowerConfig : PretrainedConfig {
  int64_t vocab_size = 49408;
  int64_t hidden_size = 512;
  int64_t intermediate_size = 2048;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 8;
  int64_t max_position_embeddings = 77;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";
  double initializer_range = 0.02;
  double initializer_factor = 1;
  double attention_dropout = 0;

  TextTowerConfig() {
    pad_token_id = 1;
    bos_token_id = 49406;
    eos_token_id = 49407;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(initializer_factor));
    field(BACKPLANE_FIELD(attention_dropout));
  }
};

// The keys of a vision tower.
struct VisionTowerConfig : PretrainedConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t num_channels = 3;
  int64_t patch_size = 32;
  int64_t image_size = 224;
  double initializer_range = 0.02;
  double initializer_factor = 1;
  double attention_dropout = 0;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(initializer_factor));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_act));
  }
};

struct CLIPTextConfig : TextTowerConfig {
  static constexpr const char* model_type = "clip_text_model";

  int64_t projection_dim = 512;

  void fields(FieldVisitor& field) override {
    TextTowerConfig::fields(field);
    field(BACKPLANE_FIELD(projection_dim));
  }
};

struct CLIPVisionConfig : VisionTowerConfig {
  static constexpr const char* model_type = "clip_vision_model";

  int64_t projection_dim = 512;

  void fields(FieldVisitor& field) override {
    VisionTowerConfig::fields(field);
    field(BACKPLANE_FIELD(projection_dim));
  }
};

// A text and a vision configuration side by side, as all models have them that learn from pairs.
template <class TextConfig, class VisionConfig>
struct DualConfig : PretrainedConfig {
  TextConfig text_config;
  VisionConfig vision_config;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(text_config));
    field(BACKPLANE_FIELD(vision_config));
  }

  // Old files hold both twice; the values of the older spelling win.
  void validate() override {
    take_old_part(*this, "text_config_dict", text_config);
    take_old_part(*this, "vision_config_dict", vision_config);
  }
};

// The same with projections to one space.
template <class TextConfig, class VisionConfig>
struct ProjectedConfig : DualConfig<TextConfig, VisionConfig> {
  int64_t projection_dim = 512;
  double logit_scale_init_value = 2.6592;
  double initializer_factor = 1;

  void fields(FieldVisitor& field) override {
    DualConfig<TextConfig, VisionConfig>::fields(field);
    field(BACKPLANE_FIELD(projection_dim));
    field(BACKPLANE_FIELD(logit_scale_init_value));
    field(BACKPLANE_FIELD(initializer_factor));
  }
};

struct CLIPConfig : ProjectedConfig<CLIPTextConfig, CLIPVisionConfig> {
  static constexpr const char* model_type = "clip";
};

}  // namespace backplane::clip
