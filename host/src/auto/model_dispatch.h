#pragma once

#include <string>
#include <vector>

#include "auto/config_view.h"

namespace backplane {

/// Throws `unknown_auto_class`, with close names, for what is neither one of the 47 nor registered.
void check_auto_class(std::string_view auto_name);
bool is_preprocessing(std::string_view auto_name);

/// The classes of an auto class for a model type, by the registry and the table, in order.
std::vector<std::string> model_classes(std::string_view auto_name, const std::string& model_type);

/// The class among `classes` that `architectures` names first, else the first (AC-38, AC-39); empty where there are none.
std::string choose_class(const std::vector<std::string>& classes, const std::vector<std::string>& architectures);

/// Where an auto class ends up for a configuration class: a type of it and the model class.
struct ModelChoice {
  std::string model_type;
  std::string class_name;
};
/// Throws `unrecognized_configuration_class`, naming the configuration class, the auto class and what is possible.
ModelChoice choose_model(std::string_view auto_name, const std::string& config_class, const std::vector<std::string>& architectures);

/// Refuses a dtype or attention implementation that no model could take (`invalid_value`, `missing_dependency`).
void check_model_options(const PretrainedOptions& options);

/// Dispatch without loading anything: the view, and the class that `auto_name` takes.
struct ModelView {
  ConfigView config;
  ModelChoice choice;
};
ModelView resolve_model_view(std::string_view auto_name, ModelFolder& folder, const PretrainedOptions& options);

}  // namespace backplane
