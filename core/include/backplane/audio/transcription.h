#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backplane/nn/module.h"

namespace backplane {

struct TranscribeOptions {
  bool timestamps = false;                   // ask the model for times; longer sounds than one window have them anyway
  std::optional<std::string> language = {};  // "en" or "<|en|>"; unset: the model's settings, or it listens
  std::optional<std::string> task = {};      // transcribe or translate
};

struct TranscribedSegment {
  double start = 0, end = 0;  // seconds
  std::vector<int64_t> ids;
};

struct TranscribedIds {
  std::optional<int64_t> first_time = {};  // this id and those above it say times, not words
  std::vector<int64_t> ids;                // of all segments
  std::vector<TranscribedSegment> segments;
};

/// A model that turns the features of one sound, of any length, into text by rules of its own. Implemented beside
/// PreTrainedModel; whoever holds a model asks by dynamic_cast. As forward: many threads may call it.
class SpeechTranscriber {
 public:
  virtual ~SpeechTranscriber();
  /// features [1, bins, frames] as the model's feature extractor makes them. Throws `invalid_value` for options that
  /// the model has not.
  virtual TranscribedIds transcribe(const Tensor& features, const TranscribeOptions& options) = 0;
};

}  // namespace backplane
