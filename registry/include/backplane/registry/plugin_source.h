#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// `plugin_not_installed`, with the id of the plugin that would be needed.
class PluginNotInstalled : public Error {
 public:
  PluginNotInstalled(std::string plugin, const std::string& message)
      : Error(ErrorCode::plugin_not_installed, message), plugin_(std::move(plugin)) {}
  const std::string& plugin() const noexcept { return plugin_; }

 private:
  std::string plugin_;
};

/// Where plugins come from, as the registry's users see it; the host's plugin system is the one there is. Thread-safe.
class PluginSource {
 public:
  virtual ~PluginSource() = default;

  /// Declares what the installed plugins promise, the first time; opens none.
  virtual void declare(Registry& registry) = 0;
  /// Opens a declared provider's library and adds its factories. Throws what the plugin system throws: the reason is in
  /// the message. Does nothing where that has happened.
  virtual void load(Registry& registry, const Provider& provider) = 0;
  /// The folders and libraries that were looked at, for messages.
  virtual std::vector<std::string> searched() const = 0;
};

/// Sets the source of this process; nullptr: none.
void set_plugin_source(std::shared_ptr<PluginSource> source);
/// The source that was set; one that declares and finds nothing where none was. Its declarations are in
/// Registry::process() when this returns.
std::shared_ptr<PluginSource> plugin_source();

/// The entry of a model type with its factory; loads the plugin if need be. Throws `unknown_model_type` with close
/// matches, PluginNotInstalled for a type of the reference that no plugin here provides, and what loading throws.
/// Thread-safe.
ConfigEntry loaded_config(std::string_view model_type);

/// A model inside a model (AC-43): the class of `auto_class` for the configuration's type, which its `architectures`
/// pick among several; made with uninitialised parameters and its own ties. Loads the plugin if need be and throws what
/// loaded_config throws, and `unrecognized_configuration_class` where the type has no such class. Thread-safe.
std::shared_ptr<PreTrainedModel> make_model(AutoClass auto_class, const PretrainedConfig& config);

}  // namespace backplane
