#include "backplane/registry/plugin_source.h"

#include <mutex>

#include "backplane/base/strings.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/registry/known_models.h"

namespace backplane {
namespace {

class NoPlugins : public PluginSource {
 public:
  void declare(Registry&) override {}
  void load(Registry&, const Provider& provider) override {
    throw Error(ErrorCode::plugin_not_installed,
                concat("plugin '", provider.id, "' cannot be loaded: this process has no plugin system"));
  }
  std::vector<std::string> searched() const override { return {}; }
};

std::mutex mutex;
std::shared_ptr<PluginSource>& current() {
  static std::shared_ptr<PluginSource> source = std::make_shared<NoPlugins>();
  return source;
}

}  // namespace

void set_plugin_source(std::shared_ptr<PluginSource> source) {
  std::lock_guard lock(mutex);
  current() = source ? std::move(source) : std::make_shared<NoPlugins>();
}

std::shared_ptr<PluginSource> plugin_source() {
  std::shared_ptr<PluginSource> source;
  {
    std::lock_guard lock(mutex);
    source = current();
  }
  source->declare(Registry::process());
  return source;
}

namespace {

std::string searched_text(const PluginSource& source) {
  const auto places = source.searched();
  return places.empty() ? "no plugin folder is configured" : "searched: " + join(places);
}

}  // namespace

ConfigEntry loaded_config(std::string_view model_type) {
  Registry& registry = Registry::process();
  const auto source = plugin_source();
  auto entry = registry.config(model_type);
  if (entry && !entry->create) {
    source->load(registry, *entry->provider);
    entry = registry.config(model_type);
  }
  if (entry && entry->create) return *entry;
  const KnownModel* known = KnownModels::get().find(model_type);
  if (known && !known->config_class.empty()) {
    throw PluginNotInstalled(std::string(known->plugin),
                             concat("model type '", model_type, "' is provided by plugin '", known->plugin,
                                    "' (not installed); ", searched_text(*source)));
  }
  std::vector<std::string> types = registry.model_types();
  for (const auto& model : KnownModels::get().all()) types.emplace_back(model.model_type);
  const auto near = close_matches(model_type, types);
  throw Error(ErrorCode::unknown_model_type,
              concat("no plugin provides model type '", model_type, "'", near.empty() ? "" : "; did you mean '",
                     join(near, "' or '"), near.empty() ? "" : "'", "; ", searched_text(*source)));
}

std::shared_ptr<PreTrainedModel> make_model(AutoClass auto_class, const PretrainedConfig& config) {
  Registry& registry = Registry::process();
  std::vector<std::string> types = {config.model_type_name};
  for (auto& type : registry.types_of_config_class(config.class_name)) types.push_back(std::move(type));
  for (const auto& type : types) {
    loaded_config(type);
    const auto entries = registry.models(auto_class.name, type);
    if (entries.empty()) continue;
    for (const auto& wanted : config.architectures.value_or(std::vector<std::string>{})) {
      for (const auto& entry : entries) {
        if (entry.class_name == wanted && entry.create) return entry.create(config);
      }
    }
    if (entries.front().create) return entries.front().create(config);
  }
  throw Error(ErrorCode::unrecognized_configuration_class,
              concat("no plugin provides a class of ", auto_class.name, " for the configuration class ",
                     config.class_name, " (model type '", config.model_type_name, "')"));
}

}  // namespace backplane
