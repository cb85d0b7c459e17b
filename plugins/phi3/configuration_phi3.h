#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::phi3 {

struct Phi3Config : PretrainedConfig {
  static constexpr const char* model_type = "phi3";

  int64_t vocab_size = 32064;
  int64_t hidden_size = 3072;
  int64_t intermediate_size = 8192;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  std::optional<int64_t> num_key_value_heads;
  double resid_pdrop = 0;
  double embd_pdrop = 0;
  double attention_dropout = 0;
  std::string hidden_act = "silu";
  int64_t max_position_embeddings = 4096;
  int64_t original_max_position_embeddings = 4096;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 10000;
  Value rope_scaling;
  double partial_rotary_factor = 1;
  std::optional<int64_t> sliding_window;

  double norm_eps() const { return rms_norm_eps; }

  Phi3Config() {
    tie_word_embeddings = false;
    bos_token_id = 1;
    pad_token_id = 32000;
    eos_token_id = 32000;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(resid_pdrop));
    field(BACKPLANE_FIELD(embd_pdrop));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(original_max_position_embeddings));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(partial_rotary_factor));
    field(BACKPLANE_FIELD(sliding_window));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    // Older files call LongRoPE "su" or "yarn".
    const Value* type = rope_scaling.find("type");
    if (type && (*type == Value("su") || *type == Value("yarn"))) {
      Value::Object scaling = rope_scaling.as_object();
      set(scaling, "type", "longrope");
      rope_scaling = scaling;
    }
  }
};

}  // namespace backplane::phi3
