#pragma once

#include "../qwen2_vl/configuration_qwen2_vl.h"

namespace backplane::glm4v {

struct Glm4vVisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "glm4v";

  int64_t depth = 24;
  int64_t hidden_size = 1536;
  std::string hidden_act = "silu";
  bool attention_bias = false;
  double attention_dropout = 0;
  int64_t num_heads = 12;
  int64_t in_channels = 3;
  int64_t image_size = 336;
  int64_t patch_size = 14;
  double rms_norm_eps = 1e-5;
  int64_t spatial_merge_size = 2;
  int64_t temporal_patch_size = 1;
  int64_t out_hidden_size = 4096;
  int64_t intermediate_size = 13696;
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(depth));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(in_channels));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(spatial_merge_size));
    field(BACKPLANE_FIELD(temporal_patch_size));
    field(BACKPLANE_FIELD(out_hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(attention_dropout));
  }
};

struct Glm4vTextConfig : PretrainedConfig {
  static constexpr const char* model_type = "glm4v_text";

  int64_t vocab_size = 151552;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 13696;
  int64_t num_hidden_layers = 40;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> num_key_value_heads = 2;
  std::string hidden_act = "silu";
  int64_t max_position_embeddings = 32768;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  double attention_dropout = 0;
  Value rope_scaling;
  std::optional<int64_t> image_token_id, video_token_id;

  Glm4vTextConfig() { tie_word_embeddings = false; }

  int64_t head_size() const { return hidden_size / num_attention_heads; }
  // The numbers of a head that turn; partial_rotary_factor is a key that only files have.
  int64_t rotary_dim() const {
    const Value* factor = find_extra("partial_rotary_factor");
    return static_cast<int64_t>(static_cast<double>(head_size()) * (factor ? factor->as_double() : 1.0));
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(image_token_id));
    field(BACKPLANE_FIELD(video_token_id));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    if (const int64_t dim = rotary_dim(); dim < 0 || dim > head_size() || dim % 2 != 0) {
      throw Error(ErrorCode::bad_config, concat("partial_rotary_factor turns ", dim, " of ", head_size(),
                                                " numbers of a head; expected an even part of them"));
    }
    if (!rope_scaling.is_object()) return;
    if (const Value* type = rope_scaling.find("type")) {
      auto scaling = rope_scaling.as_object();
      set(scaling, "rope_type", *type);
      rope_scaling = scaling;
    }
  }
};

struct Glm4vConfig : qwen2_vl::GridConfig<Glm4vTextConfig, Glm4vVisionConfig> {
  static constexpr const char* model_type = "glm4v";

  int64_t image_start_token_id = 151339;
  int64_t image_end_token_id = 151340;
  int64_t video_start_token_id = 151341;
  int64_t video_end_token_id = 151342;

  Glm4vConfig() {
    image_token_id = 151343;
    video_token_id = 151344;
  }

  void fields(FieldVisitor& field) override {
    GridConfig::fields(field);
    field(BACKPLANE_FIELD(video_start_token_id));
    field(BACKPLANE_FIELD(video_end_token_id));
    field(BACKPLANE_FIELD(image_start_token_id));
    field(BACKPLANE_FIELD(image_end_token_id));
  }
};

}  // namespace backplane::glm4v
