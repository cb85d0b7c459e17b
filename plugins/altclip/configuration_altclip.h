#pragma once

#include "../bert/configuration_bert.h"
#include "../clip/configuration_clip.h"

namespace backplane::altclip {

struct AltCLIPTextConfig : bert::BertConfig {
  static constexpr const char* model_type = "altclip_text_model";

  double initializer_factor = 0.02;
  int64_t project_dim = 768;

  AltCLIPTextConfig() {
    vocab_size = 250002;
    hidden_size = 1024;
    num_hidden_layers = 24;
    num_attention_heads = 16;
    intermediate_size = 4096;
    max_position_embeddings = 514;
    type_vocab_size = 1;
    layer_norm_eps = 1e-5;
    pad_token_id = 1;
    bos_token_id = 0;
    eos_token_id = 2;
  }

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
    field(BACKPLANE_FIELD(project_dim));
  }
};

struct AltCLIPVisionConfig : clip::CLIPVisionConfig {
  static constexpr const char* model_type = "altclip_vision_model";
};

struct AltCLIPConfig : clip::ProjectedConfig<AltCLIPTextConfig, AltCLIPVisionConfig> {
  static constexpr const char* model_type = "altclip";

  AltCLIPConfig() { projection_dim = 768; }
};

}  // namespace backplane::altclip
