#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::rwkv {

struct RwkvConfig : PretrainedConfig {
  static constexpr const char* model_type = "rwkv";

  int64_t vocab_size = 50277;
  int64_t context_length = 1024;
  int64_t hidden_size = 4096;
  int64_t num_hidden_layers = 32;
  std::optional<int64_t> attention_hidden_size;
  std::optional<int64_t> intermediate_size;
  double layer_norm_epsilon = 1e-5;
  int64_t rescale_every = 6;
  bool use_cache = true;

  RwkvConfig() {
    bos_token_id = 0;
    eos_token_id = 0;
    tie_word_embeddings = false;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(context_length));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(attention_hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(layer_norm_epsilon));
    field(BACKPLANE_FIELD(rescale_every));
    field(BACKPLANE_FIELD(use_cache));
    field.alias("max_position_embeddings", "context_length");
  }

  void validate() override {
    if (!attention_hidden_size) attention_hidden_size = hidden_size;
    if (!intermediate_size) intermediate_size = 4 * hidden_size;
  }
};

}  // namespace backplane::rwkv
