#pragma once

// Whisper: Radford et al. 2022, https://arxiv.org/abs/2212.04356
// Two convolutions over a log-mel spectrogram, a pre-norm encoder with given positions, a pre-norm decoder with learned
// ones; keys have no bias. Reference: transformers, models/whisper/modeling_whisper.py

#include <backplane/audio/transcription.h>
#include <backplane/model/encoder_decoder.h>

#include "configuration_whisper.h"

namespace backplane::whisper {

struct WhisperEncoder;
struct WhisperDecoder;

struct WhisperPreTrainedModel : PreTrainedModel {
  using Config = WhisperConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override { return {.base_model_prefix = "model"}; }
};

struct WhisperModel : WhisperPreTrainedModel {
  const WhisperConfig& c;
  std::shared_ptr<WhisperEncoder> encoder;
  std::shared_ptr<WhisperDecoder> decoder;

  explicit WhisperModel(const WhisperConfig& config);
  nn::Embedding get_input_embeddings() override;
  std::span<const std::string_view> arguments() const override;
  ModelOutput compute(const ModelInputs& inputs) override;
  /// The encoder's result, or what the call already has of it.
  ModelOutput encode(const ModelInputs& inputs);
};

struct WhisperForConditionalGeneration : WhisperPreTrainedModel, SpeechTranscriber {
  const WhisperConfig& c;
  std::shared_ptr<WhisperModel> model;
  nn::Linear proj_out;

  explicit WhisperForConditionalGeneration(const WhisperConfig& config);
  void tie_weights() override;
  bool can_generate() const override { return true; }
  nn::Embedding get_input_embeddings() override { return model->get_input_embeddings(); }
  nn::Linear get_output_embeddings() override { return proj_out; }
  std::span<const std::string_view> arguments() const override;
  ModelOutput compute(const ModelInputs& inputs) override;

  /// Window by window, as the paper's section 4.5: the next window starts at the last time that the model said.
  TranscribedIds transcribe(const Tensor& features, const TranscribeOptions& options) override;
};

}  // namespace backplane::whisper
