#include "backplane/host/auto_feature_extractor.h"

#include <algorithm>

#include "backplane/host/resolve_preprocessor.h"
#include "backplane/registry/auto_class.h"

namespace backplane {

std::shared_ptr<FeatureExtractor> AutoFeatureExtractor::from_pretrained(const std::string& name_or_path,
                                                                        const PretrainedOptions& options) {
  const auto resolved = resolve_preprocessor(Auto::FeatureExtractor.name, name_or_path, options);
  Value::Object settings = resolved.file;
  for (const auto& [key, value] : options.overrides) {
    const bool in_file =
        std::any_of(settings.begin(), settings.end(), [&](const auto& item) { return item.first == key; });
    if (in_file) set(settings, key, value);  // AC-145
  }
  return FeatureExtractor::make(resolved.class_name, settings);
}

}  // namespace backplane
