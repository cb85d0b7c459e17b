#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/config/value.h"
#include "backplane/model/named_values.h"

namespace backplane {

/// What a call may ask of a feature extractor; what is unset takes the class's default, as in the reference.
struct FeatureOptions {
  std::optional<int64_t> sampling_rate = {};  // of the waves, Hz; another one than the extractor's is an error
  Value padding = {};                         // true or "longest", "max_length", false or "do_not_pad"; Clap: its own
  Value truncation = {};                      // true or false; Clap: "fusion" or "rand_trunc"
  std::optional<int64_t> max_length = {};     // samples or frames, whatever the class pads
  std::optional<int64_t> pad_to_multiple_of = {};
  std::optional<bool> return_attention_mask = {};
  std::optional<bool> do_normalize = {};
  Value::Object more = {};  // what a class alone takes: audio_target, pad_end, return_noise, …
};

/// Turns sounds into what a model takes: the classes that preprocessor_config.json names. Immutable; any thread.
class FeatureExtractor {
 public:
  virtual ~FeatureExtractor();

  /// An extractor of a class ("WhisperFeatureExtractor") with the settings of a file over the class's defaults. Throws
  /// `unknown_class`, `bad_config` for a setting of the wrong kind or out of range.
  static std::shared_ptr<FeatureExtractor> make(std::string_view class_name, const Value::Object& settings = {});
  static std::vector<std::string> class_names();

  /// waves: a tensor [samples] each; one of [channels, samples] alone is a batch of its channels, or one sound where
  /// the class knows stereo. Gives the reference's names; what could not be stacked is a tuple. Throws `invalid_value`.
  ModelInputs operator()(const std::vector<Tensor>& waves, const FeatureOptions& options = {}) const;

  const std::string& class_name() const { return class_name_; }
  int64_t sampling_rate() const;
  /// All settings with their values, as the reference's to_dict.
  const Value::Object& settings() const { return settings_; }

 protected:
  FeatureExtractor(std::string class_name, Value::Object settings)
      : class_name_(std::move(class_name)), settings_(std::move(settings)) {}
  virtual ModelInputs extract(const std::vector<Tensor>& waves, const FeatureOptions& options) const = 0;

  std::string class_name_;
  Value::Object settings_;
};

}  // namespace backplane
