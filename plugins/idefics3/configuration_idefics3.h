#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::idefics3 {

struct Idefics3VisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "idefics3_vision";

  int64_t hidden_size = 1152;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 16;
  int64_t num_channels = 3;
  int64_t patch_size = 32;
  int64_t image_size = 224;
  double attention_dropout = 0;
  double layer_norm_eps = 1e-6;
  std::string hidden_act = "gelu_pytorch_tanh";
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
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
  }
};

template <class VisionConfig>
struct Idefics3ConfigOf : PretrainedConfig {
  bool use_cache = true;
  int64_t image_token_id = 128257;
  VisionConfig vision_config;
  std::shared_ptr<PretrainedConfig> text_config;
  int64_t scale_factor = 2;

  Idefics3ConfigOf() {
    tie_word_embeddings = false;
    pad_token_id = 128002;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_token_id));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(text_config), "llama");
    field(BACKPLANE_FIELD(scale_factor));
  }

  void validate() override {
    if (!text_config)
      throw Error(ErrorCode::bad_config, "text_config is null; expected a language model's configuration");
    if (scale_factor <= 0)
      throw Error(ErrorCode::bad_config, concat("scale_factor is ", scale_factor, "; expected 1 or more"));
  }
};

struct Idefics3Config : Idefics3ConfigOf<Idefics3VisionConfig> {
  static constexpr const char* model_type = "idefics3";
};

}  // namespace backplane::idefics3
