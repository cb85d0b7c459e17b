#include "backplane/host/auto_config.h"

#include "auto/config_view.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/resolve.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {

std::shared_ptr<PretrainedConfig> AutoConfig::from_pretrained(const std::string& name_or_path, const PretrainedOptions& options, Value::Object* unused) {
  auto resolved = resolve_config(name_or_path, options);
  if (unused) *unused = std::move(resolved.unused);
  return resolved.config;
}

std::shared_ptr<PretrainedConfig> AutoConfig::for_model(const std::string& model_type, const Value::Object& fields) {
  auto config = loaded_config(model_type).create();
  read_config(*config, to_json(Value(fields)), concat("configuration of '", model_type, "'"));
  return config;
}

std::vector<AutoConfig::ModelType> AutoConfig::known_model_types() {
  std::vector<ModelType> types;
  for (const auto& name : types_with_config()) {
    const auto info = find_type(name);
    const auto entry = Registry::process().config(name);
    using State = ModelType::State;
    types.push_back({name, info->config_class, info->provider, !entry ? State::known : entry->create ? State::loaded : State::installed});
  }
  return types;
}

}  // namespace backplane
