// Vision encoder-decoder: Li et al. 2021 (TrOCR), https://arxiv.org/abs/2109.10282
// It is the text encoder-decoder except: the encoder reads pixel_values, and nothing of it is masked.
// Reference: transformers, models/vision_encoder_decoder/modeling_vision_encoder_decoder.py

#include "../encoder_decoder/modeling_encoder_decoder.h"

namespace backplane::vision_encoder_decoder {

using namespace encoder_decoder;

struct VisionEncoderDecoderConfig : CompositeConfig {
  static constexpr const char* model_type = "vision-encoder-decoder";
};

struct VisionEncoderDecoderModel : CompositeModel {
  using Config = VisionEncoderDecoderConfig;

  explicit VisionEncoderDecoderModel(const Config& c)
      : CompositeModel(c, size_of(*c.encoder, "hidden_size", "encoder")) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "vision_encoder_decoder"}; }

  Tensor encoder_mask(const ModelInputs&, const Tensor&) override { return {}; }

  // The reference shifts the labels here, though their decoder_input_ids are shifted already.
  Tensor loss(const Tensor& logits, const Tensor& labels) override { return causal_lm_loss(logits, labels); }
};

BACKPLANE_PLUGIN(vision_encoder_decoder, plugin) {
  plugin.config<VisionEncoderDecoderConfig>();
  plugin.model<VisionEncoderDecoderModel>(Auto::ForVision2Seq);
  plugin.model<VisionEncoderDecoderModel>(Auto::ForImageTextToText);
}

}  // namespace backplane::vision_encoder_decoder
