#pragma once

#include <optional>
#include <string>
#include <vector>

#include "auto/model_folder.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/registry/known_models.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// A model type as the table and the registry know it together; installed or not.
struct TypeInfo {
  std::string model_type;
  std::string config_class;
  std::string provider;         // the plugin's id: the one that is installed, else the one that is meant to
  const KnownModel* known = nullptr;
};

/// nullopt: no such type has a configuration. Types of tokenizers alone count only with `without_config`.
std::optional<TypeInfo> find_type(std::string_view model_type, bool without_config = false);

/// The types of a configuration class, the one that look-ups prefer first (AC-24).
std::vector<std::string> types_of_class(std::string_view config_class);

/// Every type with a configuration: those of the table in its order, then those registered beside it.
std::vector<std::string> types_with_config();

/// "; did you mean 'a' or 'b'?", or nothing.
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

/// What AutoConfig knows before it builds the object: the file's content and the type it stands for.
struct ConfigView {
  Json json;
  TypeInfo type;
  /// The model_type that the file gives; nullopt where the name decided.
  std::optional<std::string> given_type;
  Value::Object overrides;

  /// An attribute that holds a text: the override, the file's, or the class's default.
  std::optional<std::string> text(const std::string& key) const;
  std::vector<std::string> architectures() const;
};

/// config.json -> consent -> model_type -> name pattern (AC-02). Nothing is loaded. Throws as resolve_config, but never
/// `plugin_not_installed`.
ConfigView read_config_view(ModelFolder& folder, const PretrainedOptions& options);

/// Checks the parts that a composite cannot do without, and their types (AC-156). Throws `bad_config`, `unknown_model_type`.
void check_parts(const ConfigView& view, const ModelFolder& folder);

/// The configuration object of a view; loads the plugin. `unused`: see ResolvedConfig.
std::shared_ptr<PretrainedConfig> build_config(const ConfigView& view, const ModelFolder& folder, const PretrainedOptions& options, Json& unused);

}  // namespace backplane
