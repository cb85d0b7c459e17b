#pragma once

#include <backplane/model.h>

namespace backplane::whisper {

struct WhisperConfig : PretrainedConfig {
  static constexpr const char* model_type = "whisper";

  int64_t vocab_size = 51865;
  int64_t num_mel_bins = 80;
  int64_t encoder_layers = 4;
  int64_t encoder_attention_heads = 6;
  int64_t decoder_layers = 4;
  int64_t decoder_attention_heads = 6;
  int64_t decoder_ffn_dim = 1536;
  int64_t encoder_ffn_dim = 1536;
  double encoder_layerdrop = 0;
  double decoder_layerdrop = 0;
  bool use_cache = true;
  std::string activation_function = "gelu";
  int64_t d_model = 384;
  double dropout = 0;
  double attention_dropout = 0;
  double activation_dropout = 0;
  double init_std = 0.02;
  int64_t num_hidden_layers = 4;
  bool scale_embedding = false;  // kept, without effect, as in the reference
  int64_t max_source_positions = 1500;
  int64_t max_target_positions = 448;
  bool use_weighted_layer_sum = false;
  int64_t classifier_proj_size = 256;
  bool apply_spec_augment = false;
  double mask_time_prob = 0.05;
  int64_t mask_time_length = 10;
  int64_t mask_time_min_masks = 2;
  double mask_feature_prob = 0;
  int64_t mask_feature_length = 10;
  int64_t mask_feature_min_masks = 0;
  int64_t median_filter_width = 7;

  WhisperConfig() {
    is_encoder_decoder = true;
    decoder_start_token_id = 50257;
    pad_token_id = bos_token_id = 50256;
    eos_token_id = 50256;
    begin_suppress_tokens = Value::List{220, 50256};
  }

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(num_mel_bins));
    field(BACKPLANE_FIELD(d_model));
    field(BACKPLANE_FIELD(encoder_layers));
    field(BACKPLANE_FIELD(encoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_layers));
    field(BACKPLANE_FIELD(decoder_attention_heads));
    field(BACKPLANE_FIELD(decoder_ffn_dim));
    field(BACKPLANE_FIELD(encoder_ffn_dim));
    field(BACKPLANE_FIELD(dropout));
    field(BACKPLANE_FIELD(attention_dropout));
    field(BACKPLANE_FIELD(activation_dropout));
    field(BACKPLANE_FIELD(activation_function));
    field(BACKPLANE_FIELD(init_std));
    field(BACKPLANE_FIELD(encoder_layerdrop));
    field(BACKPLANE_FIELD(decoder_layerdrop));
    field(BACKPLANE_FIELD(use_cache));
    field(BACKPLANE_FIELD(num_hidden_layers));
    field(BACKPLANE_FIELD(scale_embedding));
    field(BACKPLANE_FIELD(max_source_positions));
    field(BACKPLANE_FIELD(max_target_positions));
    field(BACKPLANE_FIELD(classifier_proj_size));
    field(BACKPLANE_FIELD(use_weighted_layer_sum));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_time_prob));
    field(BACKPLANE_FIELD(mask_time_length));
    field(BACKPLANE_FIELD(mask_time_min_masks));
    field(BACKPLANE_FIELD(mask_feature_prob));
    field(BACKPLANE_FIELD(mask_feature_length));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(median_filter_width));
    field.alias("num_key_value_heads", "encoder_attention_heads");
    field.alias("num_attention_heads", "encoder_attention_heads");
    field.alias("hidden_size", "d_model");
  }

  void validate() override {
    for (const auto& [key, heads] : {std::pair("encoder_attention_heads", encoder_attention_heads),
                                     std::pair("decoder_attention_heads", decoder_attention_heads)}) {
      if (heads <= 0 || d_model <= 0 || d_model % heads != 0) {
        throw Error(ErrorCode::bad_config,
                    concat("d_model (", d_model, ") is not divisible by ", key, " (", heads, ")"));
      }
    }
  }
};

}  // namespace backplane::whisper
