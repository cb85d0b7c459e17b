#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/config/pretrained_config.h"
#include "backplane/host/pretrained_options.h"
#include "backplane/hub/hub.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// Where AutoConfig ends up: the configuration object, and what its file did not take.
struct ResolvedConfig {
  std::shared_ptr<PretrainedConfig> config;
  ConfigEntry entry;
  /// Arguments that nothing took, `torch_dtype` always among them (AC-12, AC-13).
  Value::Object unused;
};

/// AutoConfig.from_pretrained: config.json -> consent -> model_type -> name pattern (AC-02). Loads the plugin that provides the
/// configuration. Thread-safe; may run inside a plugin's constructor.
/// Throws `unknown_model_type`, `no_model_type`, `plugin_not_installed`, `bad_config`, `invalid_value`, `trust_required`,
/// `remote_code_is_python`, `bad_code_reference`, and what ModelFiles throws.
ResolvedConfig resolve_config(const std::string& name_or_path, const PretrainedOptions& options = {});

/// Where an auto class for models ends up, with everything that loading it needs.
struct ResolvedModel {
  std::shared_ptr<PretrainedConfig> config;  // its own copy
  ModelEntry entry;                          // with its factory
  /// Arguments for the model class: those that the configuration did not take. A class knows them or refuses them all
  /// (`unknown_argument`).
  Value::Object arguments;
  /// The model's files, at the commit that config.json came from.
  ModelFiles files;
  /// The GGUF file among them that was asked for, by option or as the name itself (AC-11).
  std::optional<std::string> gguf_file = {};
};

/// `auto_name` ("AutoModelForCausalLM") .from_pretrained up to the point where weights are read: AC-37 to AC-44.
/// Throws as resolve_config, and `unknown_auto_class`, `unrecognized_configuration_class`, `adapter_only`.
ResolvedModel resolve_model(std::string_view auto_name, const std::string& name_or_path, const PretrainedOptions& options = {});

/// The class for a configuration object: `auto_name`.from_config. Loads the plugin if need be. Dispatch alone costs a few
/// microseconds. Throws `unknown_auto_class`, `unrecognized_configuration_class`, `plugin_not_installed`.
ModelEntry resolve_model_class(std::string_view auto_name, const PretrainedConfig& config);

}  // namespace backplane
