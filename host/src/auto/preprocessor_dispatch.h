#pragma once

#include <optional>
#include <string>

#include "auto/config_view.h"

namespace backplane {

/// The class that a preprocessing auto class takes, and what was read on the way.
struct PreprocessorView {
  std::string auto_class;
  std::string class_name;
  Json file = Json::object();
  std::optional<ConfigView> config;
};

PreprocessorView resolve_preprocessor_view(std::string_view auto_name, ModelFolder& folder, const PretrainedOptions& options);

/// The slow and fast class (or the only one, as slow) of a preprocessing auto class for a model type; empty: none.
struct SlowFast {
  std::string slow;
  std::string fast;
  bool empty() const { return slow.empty() && fast.empty(); }
};
SlowFast preprocessor_classes(std::string_view auto_name, const std::string& model_type);

}  // namespace backplane
