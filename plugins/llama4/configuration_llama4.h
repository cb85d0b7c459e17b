#pragma once

#include <backplane/model.h>
#include <backplane/model/decoder.h>
#include <backplane/nn/experts.h>

namespace backplane::llama4 {

struct Llama4VisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "llama4_vision_model";

  int64_t hidden_size = 768;
  std::string hidden_act = "gelu";
  int64_t num_hidden_layers = 34;
  int64_t num_attention_heads = 16;
  int64_t num_channels = 3;
  int64_t intermediate_size = 5632;
  int64_t vision_output_dim = 7680;
  int64_t image_size = 448;
  int64_t patch_size = 14;
  double norm_eps = 1e-5;
  double initializer_range = 0.02;
  double pixel_shuffle_ratio = 0.5;
  int64_t projector_input_dim = 4096;
  int64_t projector_output_dim = 4096;
  bool multi_modal_projector_bias = false;
  double projector_dropout = 0;
  double attention_dropout = 0;
  int64_t vision_feature_layer = -1;
  std::string vision_feature_select_strategy = "default";
  double rope_theta = 10000;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_channels));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(image_size));
    field(BACKPLANE_FIELD(vision_output_dim));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(norm_eps));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(pixel_shuffle_ratio));
    field(BACKPLANE_FIELD(projector_input_dim));
    field(BACKPLANE_FIELD(projector_output_dim));
    field(BACKPLANE_FIELD(multi_modal_projector_bias));
    field(BACKPLANE_FIELD(projector_dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(vision_feature_layer));
    field(BACKPLANE_FIELD(vision_feature_select_strategy));
    field(BACKPLANE_FIELD(rope_theta));
  }

  // Patches of a side.
  int64_t side() const { return image_size / patch_size; }

  void validate() override {
    if (num_attention_heads <= 0 || hidden_size % (4 * num_attention_heads) != 0 || patch_size <= 0 ||
        image_size < patch_size || side() > 1 << 15 || !(pixel_shuffle_ratio > 0 && pixel_shuffle_ratio <= 1)) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") has to be a multiple of 4 * num_attention_heads (",
                         num_attention_heads, "), image_size (", image_size, ") at least patch_size (", patch_size,
                         "), and pixel_shuffle_ratio (", pixel_shuffle_ratio, ") above 0 and at most 1"));
    }
  }
};

struct Llama4TextConfig : PretrainedConfig {
  static constexpr const char* model_type = "llama4_text";

  int64_t vocab_size = 202048;
  int64_t hidden_size = 5120;
  int64_t intermediate_size = 8192;
  int64_t intermediate_size_mlp = 16384;
  int64_t num_hidden_layers = 48;
  int64_t num_attention_heads = 40;
  std::optional<int64_t> num_key_value_heads = 8;
  std::optional<int64_t> head_dim = 128;
  std::string hidden_act = "silu";
  int64_t max_position_embeddings = 131072;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  bool attention_bias = false;
  double rope_theta = 500000;
  double attention_dropout = 0;
  int64_t num_experts_per_tok = 1;
  int64_t num_local_experts = 16;
  std::optional<std::vector<int64_t>> moe_layers;
  int64_t interleave_moe_layer_step = 1;
  bool use_qk_norm = true;
  bool output_router_logits = false;
  double router_aux_loss_coef = 0.001;
  double router_jitter_noise = 0;
  Value rope_scaling;
  std::optional<std::vector<int64_t>> no_rope_layers;  // 1: the layer has rotary positions
  int64_t no_rope_layer_interval = 4;
  int64_t attention_chunk_size = 8192;
  std::optional<std::vector<std::string>> layer_types;
  bool attn_temperature_tuning = true;
  int64_t floor_scale = 8192;
  double attn_scale = 0.1;

  Llama4TextConfig() {
    bos_token_id = 1;
    eos_token_id = 2;
    tie_word_embeddings = false;
  }

  bool is_chunked(size_t layer) const { return (*layer_types)[layer] == "chunked_attention"; }
  bool has_rope(size_t layer) const { return (*no_rope_layers)[layer] != 0; }
  bool is_moe(size_t layer) const {
    return std::find(moe_layers->begin(), moe_layers->end(), static_cast<int64_t>(layer)) != moe_layers->end();
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(attn_temperature_tuning));
    field(BACKPLANE_FIELD(attn_scale));
    field(BACKPLANE_FIELD(floor_scale));
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(intermediate_size_mlp));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(attention_bias));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(head_dim));
    field(BACKPLANE_FIELD(use_qk_norm));
    field(BACKPLANE_FIELD(num_experts_per_tok));
    field(BACKPLANE_FIELD(num_local_experts));
    field(BACKPLANE_FIELD(output_router_logits));
    field(BACKPLANE_FIELD(router_aux_loss_coef));
    field(BACKPLANE_FIELD(router_jitter_noise));
    field(BACKPLANE_FIELD(no_rope_layers));
    field(BACKPLANE_FIELD(interleave_moe_layer_step));
    field(BACKPLANE_FIELD(moe_layers));
    field(BACKPLANE_FIELD(attention_chunk_size));
    field(BACKPLANE_FIELD(layer_types));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    check_experts(num_local_experts, num_experts_per_tok);
    if (!head_dim) head_dim = hidden_size / num_attention_heads;
    if (*head_dim <= 0 || *head_dim % 2 != 0)
      throw Error(ErrorCode::bad_config, concat("head_dim is ", *head_dim, "; expected an even number above 0"));
    if (interleave_moe_layer_step <= 0 || attention_chunk_size <= 0 || floor_scale <= 0) {
      throw Error(ErrorCode::bad_config,
                  concat("interleave_moe_layer_step (", interleave_moe_layer_step, "), attention_chunk_size (",
                         attention_chunk_size, ") and floor_scale (", floor_scale, ") have to be above 0"));
    }
    // The interval is an argument of the reference's constructor, and no attribute.
    if (const Value* given = find_extra("no_rope_layer_interval")) no_rope_layer_interval = given->as_int();
    if (no_rope_layer_interval <= 0) throw Error(ErrorCode::bad_config, "no_rope_layer_interval has to be above 0");
    if (!no_rope_layers || no_rope_layers->empty()) {
      no_rope_layers.emplace();
      for (int64_t i = 0; i < num_hidden_layers; ++i) no_rope_layers->push_back((i + 1) % no_rope_layer_interval != 0);
    }
    if (!moe_layers) {
      moe_layers.emplace();
      for (int64_t i = interleave_moe_layer_step - 1; i < num_hidden_layers; i += interleave_moe_layer_step)
        moe_layers->push_back(i);
    }
    if (!layer_types) {
      layer_types.emplace();
      for (const int64_t rope : *no_rope_layers) layer_types->push_back(rope ? "chunked_attention" : "full_attention");
    }
    const auto layers = static_cast<size_t>(num_hidden_layers);
    if (layer_types->size() < layers || no_rope_layers->size() < layers) {
      throw Error(ErrorCode::bad_config, concat("layer_types has ", layer_types->size(), " entries and no_rope_layers ",
                                                no_rope_layers->size(), "; num_hidden_layers is ", layers));
    }
  }
};

struct Llama4Config : PretrainedConfig {
  static constexpr const char* model_type = "llama4";

  Llama4VisionConfig vision_config;
  Llama4TextConfig text_config;
  int64_t boi_token_index = 200080;
  int64_t eoi_token_index = 200081;
  int64_t image_token_index = 200092;

  Llama4Config() { tie_word_embeddings = false; }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(boi_token_index));
    field.alias("boi_token_id", "boi_token_index");
    field(BACKPLANE_FIELD(eoi_token_index));
    field.alias("eoi_token_id", "eoi_token_index");
    field(BACKPLANE_FIELD(image_token_index));
    field.alias("image_token_id", "image_token_index");
    field(BACKPLANE_FIELD(text_config));
  }
};

}  // namespace backplane::llama4
