#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::wav2vec2_bert {

using wav2vec2::SpeechConfig;

struct Wav2Vec2BertConfig : SpeechConfig {
  static constexpr const char* model_type = "wav2vec2-bert";

  int64_t feature_projection_input_dim = 160;
  int64_t max_source_positions = 5000;
  std::optional<std::string> position_embeddings_type = "relative_key";  // or relative, rotary, null
  int64_t rotary_embedding_base = 10000;
  int64_t left_max_position_embeddings = 64;
  int64_t right_max_position_embeddings = 8;
  int64_t conv_depthwise_kernel_size = 31;
  double conformer_conv_dropout = 0.1;
  std::string adapter_act = "relu";
  bool use_intermediate_ffn_before_adapter = false;

  Wav2Vec2BertConfig() {
    vocab_size = std::nullopt;
    hidden_size = 1024;
    num_hidden_layers = 24;
    num_attention_heads = 16;
    intermediate_size = 4096;
    hidden_act = "swish";
    hidden_dropout = activation_dropout = attention_dropout = 0.0;
    classifier_proj_size = 768;
    num_adapter_layers = 1;
  }

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    adapter_fields(field);
    xvector_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(feature_projection_input_dim));
    field(BACKPLANE_FIELD(max_source_positions));
    field(BACKPLANE_FIELD(position_embeddings_type));
    field(BACKPLANE_FIELD(rotary_embedding_base));
    field(BACKPLANE_FIELD(left_max_position_embeddings));
    field(BACKPLANE_FIELD(right_max_position_embeddings));
    field(BACKPLANE_FIELD(conv_depthwise_kernel_size));
    field(BACKPLANE_FIELD(conformer_conv_dropout));
    field(BACKPLANE_FIELD(adapter_act));
    field(BACKPLANE_FIELD(use_intermediate_ffn_before_adapter));
  }

  void validate() override {
    SpeechConfig::validate();
    if (conv_depthwise_kernel_size <= 0 || conv_depthwise_kernel_size % 2 == 0) {
      throw Error(ErrorCode::bad_config,
                  concat("conv_depthwise_kernel_size is ", conv_depthwise_kernel_size, "; expected an odd number"));
    }
    if (use_intermediate_ffn_before_adapter && !add_adapter)
      throw Error(ErrorCode::bad_config, "use_intermediate_ffn_before_adapter needs add_adapter");
    if (left_max_position_embeddings < 0 || right_max_position_embeddings < 0)
      throw Error(ErrorCode::bad_config,
                  "left_max_position_embeddings and right_max_position_embeddings cannot be below 0");
  }
};

}  // namespace backplane::wav2vec2_bert
