// Speech encoder-decoder: Wang et al. 2021, https://arxiv.org/abs/2104.06678
// It is the text encoder-decoder except: the encoder reads a waveform or features, and the mask over its states is that
// of the input, made as short as the encoder's convolutions make the input.
// Reference: transformers, models/speech_encoder_decoder/modeling_speech_encoder_decoder.py

#include "../encoder_decoder/modeling_encoder_decoder.h"

namespace backplane::speech_encoder_decoder {

using namespace encoder_decoder;

struct SpeechEncoderDecoderConfig : CompositeConfig {
  static constexpr const char* model_type = "speech-encoder-decoder";
};

int64_t states_size(const PretrainedConfig& encoder) {
  const auto output = find_number(encoder, "output_hidden_size");
  return output ? *output : size_of(encoder, "hidden_size", "encoder");
}

struct SpeechEncoderDecoderModel : CompositeModel {
  using Config = SpeechEncoderDecoderConfig;

  explicit SpeechEncoderDecoderModel(const Config& c) : CompositeModel(c, states_size(*c.encoder)) {
    const auto kernels = find_value(*c.encoder, "conv_kernel").as_int_list();
    const auto strides = find_value(*c.encoder, "conv_stride").as_int_list();
    if (kernels.size() != strides.size() || std::any_of(strides.begin(), strides.end(), [](auto s) { return s <= 0; }))
      throw Error(ErrorCode::bad_config, "config.json: the encoder's conv_kernel and conv_stride do not fit together");
    for (size_t i = 0; i < kernels.size(); ++i) shorten_.emplace_back(kernels[i], strides[i]);
    const Value adapter = find_value(*c.encoder, "add_adapter");
    if (!adapter.is_bool() || !adapter.as_bool()) return;
    const int64_t stride = size_of(*c.encoder, "adapter_stride", "encoder");
    if (stride <= 0) throw Error(ErrorCode::bad_config, concat("config.json: adapter_stride is ", stride));
    for (int64_t i = 0; i < size_of(*c.encoder, "num_adapter_layers", "encoder"); ++i) shorten_.emplace_back(1, stride);
  }

  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "speech_encoder_decoder"}; }

  // attention_mask [batch, samples] -> [batch, frames]
  Tensor encoder_mask(const ModelInputs& inputs, const Tensor& states) override {
    const Tensor given = inputs.tensor("attention_mask");
    if (!given.defined()) return {};
    Tensor lengths = given.to(at::kLong).sum(1, true);
    for (const auto& [kernel, stride] : shorten_) lengths = at::floor_divide(lengths - kernel, stride) + 1;
    return (at::arange(states.size(1)).unsqueeze(0) < lengths).to(at::kLong);
  }

 private:
  std::vector<std::pair<int64_t, int64_t>> shorten_;  // kernel and stride of each convolution over time
};

BACKPLANE_PLUGIN(speech_encoder_decoder, plugin) {
  plugin.config<SpeechEncoderDecoderConfig>();
  plugin.model<SpeechEncoderDecoderModel>(Auto::ForSpeechSeq2Seq);
}

}  // namespace backplane::speech_encoder_decoder
