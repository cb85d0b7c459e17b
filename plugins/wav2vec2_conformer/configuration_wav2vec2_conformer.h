#pragma once

#include "../wav2vec2/speech_config.h"

namespace backplane::wav2vec2_conformer {

using wav2vec2::SpeechConfig;

struct Wav2Vec2ConformerConfig : SpeechConfig {
  static constexpr const char* model_type = "wav2vec2-conformer";

  int64_t max_source_positions = 5000;
  std::optional<std::string> position_embeddings_type = "relative";  // or rotary, or null
  int64_t rotary_embedding_base = 10000;
  int64_t conv_depthwise_kernel_size = 31;
  double conformer_conv_dropout = 0.1;

  Wav2Vec2ConformerConfig() { vocab_size = std::nullopt; }

  void fields(FieldVisitor& field) override {
    SpeechConfig::fields(field);
    wave_fields(field);
    quantizer_fields(field);
    adapter_fields(field);
    xvector_fields(field);
    field(BACKPLANE_FIELD(layerdrop));
    field(BACKPLANE_FIELD(feat_extract_norm));
    field(BACKPLANE_FIELD(apply_spec_augment));
    field(BACKPLANE_FIELD(mask_feature_min_masks));
    field(BACKPLANE_FIELD(feat_quantizer_dropout));
    field(BACKPLANE_FIELD(max_source_positions));
    field(BACKPLANE_FIELD(position_embeddings_type));
    field(BACKPLANE_FIELD(rotary_embedding_base));
    field(BACKPLANE_FIELD(conv_depthwise_kernel_size));
    field(BACKPLANE_FIELD(conformer_conv_dropout));
  }

  void validate() override {
    SpeechConfig::validate();
    check_wave();
    if (conv_depthwise_kernel_size <= 0 || conv_depthwise_kernel_size % 2 == 0) {
      throw Error(ErrorCode::bad_config,
                  concat("conv_depthwise_kernel_size is ", conv_depthwise_kernel_size, "; expected an odd number"));
    }
  }
};

}  // namespace backplane::wav2vec2_conformer
