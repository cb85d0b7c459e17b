#pragma once

#include <backplane/config/field_value.h>
#include <backplane/model.h>
#include <backplane/model/decoder.h>

namespace backplane::qwen2_vl {

struct Qwen2VLVisionConfig : PretrainedConfig {
  static constexpr const char* model_type = "qwen2_vl";

  int64_t depth = 32;
  int64_t embed_dim = 1280;
  int64_t hidden_size = 3584;
  std::string hidden_act = "quick_gelu";
  Value mlp_ratio = 4;
  int64_t num_heads = 16;
  int64_t in_channels = 3;
  int64_t patch_size = 14;
  int64_t spatial_merge_size = 2;
  int64_t temporal_patch_size = 2;
  double initializer_range = 0.02;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(depth));
    field(BACKPLANE_FIELD(embed_dim));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(mlp_ratio));
    field(BACKPLANE_FIELD(num_heads));
    field(BACKPLANE_FIELD(in_channels));
    field(BACKPLANE_FIELD(patch_size));
    field(BACKPLANE_FIELD(spatial_merge_size));
    field(BACKPLANE_FIELD(temporal_patch_size));
    field(BACKPLANE_FIELD(initializer_range));
  }
};

struct Qwen2VLTextConfig : PretrainedConfig {
  static constexpr const char* model_type = "qwen2_vl_text";

  int64_t vocab_size = 152064;
  int64_t hidden_size = 8192;
  int64_t intermediate_size = 29568;
  int64_t num_hidden_layers = 80;
  int64_t num_attention_heads = 64;
  std::optional<int64_t> num_key_value_heads = 8;
  std::string hidden_act = "silu";
  int64_t max_position_embeddings = 32768;
  double initializer_range = 0.02;
  double rms_norm_eps = 1e-5;
  bool use_cache = true;
  double rope_theta = 1000000;
  bool use_sliding_window = false;
  std::optional<int64_t> sliding_window = 4096;
  int64_t max_window_layers = 80;
  std::optional<std::vector<std::string>> layer_types;
  double attention_dropout = 0;
  Value rope_scaling;
  std::optional<int64_t> image_token_id, video_token_id;

  Qwen2VLTextConfig() { tie_word_embeddings = false; }

  int64_t head_size() const { return hidden_size / num_attention_heads; }
  double norm_eps() const { return rms_norm_eps; }
  // Positions that a query of the layer sees; 0: all.
  int64_t window(size_t layer) const {
    return (*layer_types)[layer] == "sliding_attention" ? sliding_window.value_or(0) : 0;
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(max_position_embeddings));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(intermediate_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(num_attention_heads));
    field(BACKPLANE_FIELD(use_sliding_window));
    field(BACKPLANE_FIELD(sliding_window));
    field(BACKPLANE_FIELD(max_window_layers));
    field(BACKPLANE_FIELD(num_key_value_heads));
    field(BACKPLANE_FIELD(hidden_act));
    field(BACKPLANE_FIELD(initializer_range));
    field(BACKPLANE_FIELD(rms_norm_eps));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(rope_theta));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(rope_scaling));
    field(BACKPLANE_FIELD(layer_types));
    field(BACKPLANE_FIELD(image_token_id));
    field(BACKPLANE_FIELD(video_token_id));
  }

  void validate() override {
    settle_heads(num_attention_heads, num_key_value_heads);
    if (hidden_size % num_attention_heads != 0) {
      throw Error(ErrorCode::bad_config,
                  concat("hidden_size (", hidden_size, ") is not divisible by num_attention_heads (",
                         num_attention_heads, ")"));
    }
    if (!use_sliding_window) sliding_window.reset();
    if (!layer_types) {
      layer_types.emplace();
      for (int64_t i = 0; i < num_hidden_layers; ++i) {
        layer_types->push_back(sliding_window && i >= max_window_layers ? "sliding_attention" : "full_attention");
      }
    }
    if (static_cast<int64_t>(layer_types->size()) < num_hidden_layers) {
      throw Error(ErrorCode::bad_config, concat("layer_types has ", layer_types->size(),
                                                " entries; num_hidden_layers is ", num_hidden_layers));
    }
    // "mrope" is the default scaling; its sections are used in any case.
    if (rope_scaling.is_object()) {
      auto scaling = rope_scaling.as_object();
      if (const Value* type = rope_scaling.find("type")) {
        const Value kind = *type == Value("mrope") ? Value("default") : *type;
        set(scaling, "type", kind);
        set(scaling, "rope_type", kind);
      }
      rope_scaling = scaling;
    }
  }
};

// Text and vision, and the ids that stand for images and videos. Files from before there were parts hold the text's
// keys on top.
template <class TextConfig, class VisionConfig>
struct GridConfig : PretrainedConfig {
  TextConfig text_config;
  VisionConfig vision_config;
  int64_t image_token_id = 151655;
  int64_t video_token_id = 151656;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    Value given;
    field("text_config", given);
    has_text_config_ = has_text_config_ || given.is_object();
    field(BACKPLANE_FIELD(vision_config));
    field(BACKPLANE_FIELD(text_config));
    field(BACKPLANE_FIELD(image_token_id));
    field(BACKPLANE_FIELD(video_token_id));
  }

  void validate() override {
    if (has_text_config_ || !find_extra("hidden_size")) return;
    read_flat_part(*this, text_config);
    has_text_config_ = true;
  }

  // A key that only files have, or what the published checkpoints say.
  int64_t token(std::string_view key, int64_t fallback) const {
    const Value* found = find_extra(key);
    return found && !found->is_null() ? found->as_int() : fallback;
  }

 private:
  bool has_text_config_ = false;
};

struct Qwen2VLConfig : GridConfig<Qwen2VLTextConfig, Qwen2VLVisionConfig> {
  static constexpr const char* model_type = "qwen2_vl";
};

}  // namespace backplane::qwen2_vl
