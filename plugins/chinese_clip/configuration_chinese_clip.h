#pragma once

#include "../bert/configuration_bert.h"
#include "../clip/configuration_clip.h"

namespace backplane::chinese_clip {

// BERT's keys, and how large weights start.
struct ChineseCLIPTextConfig : bert::BertConfig {
  static constexpr const char* model_type = "chinese_clip_text_model";

  double initializer_factor = 1;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(hidden_dropout_prob));
    field(BACKPLANE_FIELD(attention_probs_dropout_prob));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(type_vocab_size));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(initializer_factor));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(position_embedding_type));
    field(BACKPLANE_FIELD(use_cache));
  }
};

struct ChineseCLIPVisionConfig : clip::CLIPVisionConfig {
  static constexpr const char* model_type = "chinese_clip_vision_model";
};

struct ChineseCLIPConfig : clip::ProjectedConfig<ChineseCLIPTextConfig, ChineseCLIPVisionConfig> {
  static constexpr const char* model_type = "chinese_clip";

  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    ProjectedConfig::fields(field);
    field(BACKPLANE_FIELD(initializer_range));
  }
};

}  // namespace backplane::chinese_clip
