#pragma once

#include "../idefics3/configuration_idefics3.h"

namespace backplane::idefics2 {

struct Idefics2VisionConfig : idefics3::Idefics3VisionConfig {
  static constexpr const char* model_type = "idefics2_vision";

  Idefics2VisionConfig() {
    hidden_size = 768;
    num_attention_heads = 12;
  }
};

struct Idefics2PerceiverConfig : PretrainedConfig {
  static constexpr const char* model_type = "idefics2_perceiver";

  std::string hidden_act = "silu";
  int64_t hidden_size = 4096;
  double rms_norm_eps = 1e-6;
  int64_t resampler_n_latents = 64;
  int64_t resampler_depth = 3;
  int64_t resampler_n_heads = 16;
  int64_t num_key_value_heads = 4;
  int64_t resampler_head_dim = 96;
  double attention_dropout = 0;
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(resampler_n_latents));
    field(BACKPLANE_FIELD(resampler_depth));
    field(BACKPLANE_FIELD(resampler_n_heads));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(resampler_head_dim));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(initializer_range));
  }

  void validate() override {
    if (num_key_value_heads <= 0 || resampler_n_heads <= 0 || resampler_n_heads % num_key_value_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("resampler_n_heads (", resampler_n_heads, ") is not divisible by num_key_value_heads (",
                         num_key_value_heads, ")"));
    }
    if (resampler_depth < 0 || resampler_depth > 65536)
      throw Error(ErrorCode::bad_config, concat("resampler_depth is ", resampler_depth));
  }
};

struct Idefics2Config : PretrainedConfig {
  static constexpr const char* model_type = "idefics2";

  bool use_cache = true;
  int64_t image_token_id = 32001;
  Idefics2VisionConfig vision_config;
  Idefics2PerceiverConfig perceiver_config;
  std::shared_ptr<PretrainedConfig> text_config;

  Idefics2Config() { tie_word_embeddings = false; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(image_token_id));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(perceiver_config));
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(text_config), "mistral");
  }

  // The resampler works in the language model's space.
  void validate() override {
    if (!text_config)
      throw Error(ErrorCode::bad_config, "text_config is null; expected a language model's configuration");
    if (const int64_t hidden = int_field(*text_config, "hidden_size"); hidden != perceiver_config.hidden_size) {
      perceiver_config.hidden_size = hidden;
      perceiver_config.rms_norm_eps = field_value(*text_config, "rms_norm_eps").as_double();
    }
  }
};

}  // namespace backplane::idefics2
