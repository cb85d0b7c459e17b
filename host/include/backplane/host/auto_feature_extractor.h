#pragma once

#include <memory>
#include <string>

#include "backplane/audio/feature_extractor.h"
#include "backplane/host/pretrained_options.h"

namespace backplane {

/// Feature extractors by name (AC-144, AC-145).
class AutoFeatureExtractor {
 public:
  AutoFeatureExtractor() = delete;  // AC-01

  /// The extractor of a folder or repository, with the settings of its preprocessor_config.json; `options.overrides`
  /// replace those that it has. Thread-safe. Throws as resolve_preprocessor, and `unknown_class` for one that is not
  /// for sounds.
  static std::shared_ptr<FeatureExtractor> from_pretrained(const std::string& name_or_path,
                                                           const PretrainedOptions& options = {});
};

}  // namespace backplane
