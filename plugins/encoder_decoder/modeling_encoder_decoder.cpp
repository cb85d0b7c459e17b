// Rothe et al. 2019, https://arxiv.org/abs/1907.12461
// A text encoder and a decoder with cross-attention, each with its own configuration.
// Reference: transformers, models/encoder_decoder/modeling_encoder_decoder.py

#include "modeling_encoder_decoder.h"

namespace backplane::encoder_decoder {

struct EncoderDecoderConfig : CompositeConfig {
  static constexpr const char* model_type = "encoder-decoder";
};

struct EncoderDecoderModel : CompositeModel {
  using Config = EncoderDecoderConfig;

  explicit EncoderDecoderModel(const Config& c) : CompositeModel(c, size_of(*c.encoder, "hidden_size", "encoder")) {}

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "encoder_decoder"}; }

  Tensor encoder_mask(const ModelInputs& inputs, const Tensor&) override { return inputs.tensor("attention_mask"); }

  Tensor start(const Tensor& labels, ModelInputs& call) override {
    const Tensor ids = CompositeModel::start(labels, call);
    if (!call.contains("decoder_attention_mask"))
      call.set("decoder_attention_mask", (ids != *c.pad_token_id).to(at::kLong));
    return ids;
  }
};

BACKPLANE_PLUGIN(encoder_decoder, plugin) {
  plugin.config<EncoderDecoderConfig>();
  plugin.model<EncoderDecoderModel>(Auto::WithLMHead);
  plugin.model<EncoderDecoderModel>(Auto::ForSeq2SeqLM);
}

}  // namespace backplane::encoder_decoder
