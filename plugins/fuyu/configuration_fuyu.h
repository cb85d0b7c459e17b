#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>

namespace backplane::fuyu {

struct FuyuConfig : PretrainedConfig {
  static constexpr const char* model_type = "fuyu";

  std::shared_ptr<PretrainedConfig> text_config;
  int64_t _vocab_size = 262144;
  int64_t max_position_embeddings = 16384;
  int64_t image_size = 300;
  int64_t patch_size = 30;
  int64_t num_channels = 3;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 16384;
  int64_t num_hidden_layers = 36;
  int64_t num_attention_heads = 64;
  std::string hidden_act = "relu2";
  double initializer_range = 0.02;
  double layer_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 25000;
  Value rope_scaling;
  bool qk_layernorm = true;
  double hidden_dropout = 0;
  double attention_dropout = 0;
  double partial_rotary_factor = 0.5;
  int64_t image_token_id = 71011;

  FuyuConfig() {
    tie_word_embeddings = false;
    bos_token_id = 1;
    eos_token_id = 2;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    Value given;
    field("text_config", given);
    has_text_config_ = has_text_config_ || given.is_object();
    field(BACKPLANE_FIELD(text_config), "persimmon");
    field(BACKPLANE_FIELD(_vocab_size));
    field.alias("vocab_size", "_vocab_size");
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(layer_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(qk_layernorm));
    field(BACKPLANE_FIELD(hidden_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(image_token_id));
  }

  // Old files hold the language model's keys on top.
  void validate() override {
    if (!text_config) text_config = make_config("persimmon");
    if (has_text_config_) return;
    read_flat_part(*this, *text_config);
    has_text_config_ = true;
  }

 private:
  bool has_text_config_ = false;
};

}  // namespace backplane::fuyu
