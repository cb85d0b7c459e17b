#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backplane/config/pretrained_config.h"
#include "backplane/host/pretrained_options.h"
#include "backplane/host/register.h"

namespace backplane {

/// Configurations by name: config.json's model_type, else a type that occurs in the name (AC-02, AC-05).
class AutoConfig {
 public:
  AutoConfig() = delete;  // AC-01

  /// `unused` receives the arguments that nothing took, `torch_dtype` always among them (AC-12, AC-13). Thread-safe.
  /// Throws as resolve_config.
  static std::shared_ptr<PretrainedConfig> from_pretrained(const std::string& name_or_path, const PretrainedOptions& options = {},
                                                           Value::Object* unused = nullptr);

  /// A configuration of that type, `fields` over its defaults (AC-23). Throws `unknown_model_type`, `plugin_not_installed`,
  /// `bad_config`.
  static std::shared_ptr<PretrainedConfig> for_model(const std::string& model_type, const Value::Object& fields = {});

  /// Registers a class of this process under its model_type. Throws as register_config.
  template <class Config>
  static void register_(const std::string& model_type = Config::model_type, bool exist_ok = false) {
    register_config({model_type, type_name<Config>(), [] { return std::shared_ptr<PretrainedConfig>(make_config<Config>()); }, nullptr},
                    Config::model_type, exist_ok);
  }

  struct ModelType {
    std::string name;
    std::string config_class;
    std::string provider;  // the plugin's id
    enum class State { loaded, installed, known } state;
  };
  /// Those of the reference in its order, installed or not, then those registered beside them. Opens no plugin.
  static std::vector<ModelType> known_model_types();
};

}  // namespace backplane
