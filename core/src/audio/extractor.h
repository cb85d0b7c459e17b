#pragma once

#include "backplane/audio/feature_extractor.h"
#include "backplane/audio/spectrogram.h"
#include "backplane/base/error.h"
#include "backplane/base/strings.h"

// What the feature extractor classes are made of.
namespace backplane::audio {

enum class Padding { none, longest, max_length };
/// Throws `invalid_value` for a word that is no way to pad.
Padding padding_of(const Value& padding);

/// Rows of one call, [length] or [length, size] each, and what counts in them, [length] int32 each (or none at all).
struct Rows {
  std::vector<Tensor> values, masks;
};

struct PadOptions {
  Value padding;
  bool truncation = false;
  std::optional<int64_t> max_length = {};
  std::optional<int64_t> multiple_of = {};
  bool with_mask = true;
  int64_t feature_size = 1;  // above 1: each row has to be [length, size]
  double value = 0;
};
/// As SequenceFeatureExtractor.pad of the reference.
Rows pad(std::vector<Tensor> values, const PadOptions& options);

/// A tensor where all rows have one shape, a tuple otherwise.
Argument stacked(const std::vector<Tensor>& rows);
/// A tensor, or `invalid_value`.
Tensor must_stack(const std::vector<Tensor>& rows, const char* what);

/// (x - mean) / sqrt(var + 1e-7) of the first `mask` values of each row, the others become `padding_value`. No masks:
/// of whole rows.
std::vector<Tensor> unit_variance(const Rows& rows, bool by_mask, double padding_value);
/// Mean and variance of each column taken off, over the first `lengths` frames of [frames, size].
std::vector<Tensor> cepstral_normalised(const Rows& rows, bool by_mask, bool means, bool variances,
                                        double padding_value);

/// The base of all classes: typed and checked access to the settings.
class Extractor : public FeatureExtractor {
 public:
  using FeatureExtractor::FeatureExtractor;

 protected:
  const Value& setting(std::string_view key) const;
  int64_t integer(std::string_view key, int64_t low = 1, int64_t high = int64_t{1} << 32) const;
  double number(std::string_view key) const;
  bool flag(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  void derive(std::string_view key, Value value) { set(settings_, key, std::move(value)); }

  double padding_value() const { return number("padding_value"); }
  bool wants_mask(const FeatureOptions& options) const {
    return options.return_attention_mask.value_or(flag("return_attention_mask"));
  }
  /// What the call says, or this.
  PadOptions pad_options(const FeatureOptions& options, Value padding, bool truncation = false) const;
  /// One sound a row: a single [channels, samples] becomes its channels.
  static std::vector<Tensor> sounds(const std::vector<Tensor>& waves);
  static const Value* more(const FeatureOptions& options, std::string_view key);
  static bool more_flag(const FeatureOptions& options, std::string_view key, bool fallback);
};

/// A class: its name, defaults in the reference's order, and how it is made.
struct ExtractorClass {
  std::string_view name;
  Value::Object (*defaults)();
  std::shared_ptr<FeatureExtractor> (*make)(std::string name, Value::Object settings);
};
template <class T>
std::shared_ptr<FeatureExtractor> make_extractor(std::string name, Value::Object settings) {
  return std::make_shared<T>(std::move(name), std::move(settings));
}
std::vector<ExtractorClass> wave_classes();   // samples in, samples out
std::vector<ExtractorClass> mel_classes();    // spectrograms
std::vector<ExtractorClass> fbank_classes();  // Kaldi's filter banks and their kin

}  // namespace backplane::audio
