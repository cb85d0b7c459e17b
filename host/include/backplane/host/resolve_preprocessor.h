#pragma once

#include <string>
#include <string_view>

#include "backplane/host/pretrained_options.h"
#include "backplane/hub/hub.h"

namespace backplane {

/// Where an auto class for preprocessing ends up.
struct ResolvedPreprocessor {
  /// The auto class that found the class: AutoProcessor may fall back to AutoTokenizer, AutoImageProcessor or
  /// AutoFeatureExtractor (AC-147).
  std::string auto_class;
  std::string class_name;
  /// The file that steers the class (tokenizer_config.json, preprocessor_config.json, …), as it stands; empty: none.
  Value::Object file;
  ModelFiles files;
};

/// AutoTokenizer, AutoFeatureExtractor, AutoImageProcessor, AutoVideoProcessor and AutoProcessor, up to the class: AC-119 to
/// AC-149. Reads JSON only. Throws `unknown_auto_class`, `unrecognized_configuration_class`, `unrecognized_processor`,
/// `unknown_class`, `invalid_value`, `file_not_found`, and as resolve_config.
ResolvedPreprocessor resolve_preprocessor(std::string_view auto_name, const std::string& name_or_path, const PretrainedOptions& options = {});

}  // namespace backplane
