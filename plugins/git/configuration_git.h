#pragma once

#include "../clip/configuration_clip.h"

namespace backplane::git {

struct GitVisionConfig : clip::VisionTowerConfig {
  static constexpr const char* model_type = "git_vision_model";

  GitVisionConfig() { patch_size = 16; }
};

struct GitConfig : PretrainedConfig {
  static constexpr const char* model_type = "git";

  GitVisionConfig vision_config;
  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t num_hidden_layers = 6;
  int64_t num_attention_heads = 12;
  int64_t intermediate_size = 3072;
  std::string hidden_act = "gelu";
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  int64_t max_position_embeddings = 1024;
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-12;
  std::string position_embedding_type = "absolute";  // or relative_key, relative_key_query
  bool use_cache = true;
  std::optional<int64_t> num_image_with_embedding;  // frames of a video

  GitConfig() {
    pad_token_id = 0;
    bos_token_id = 101;
    eos_token_id = 102;
    tie_word_embeddings = false;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_image_with_embedding));
  }
};

}  // namespace backplane::git
