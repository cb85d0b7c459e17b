#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backplane/base/type_name.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/model/create.h"
#include "backplane/registry/build_fingerprint.h"
#include "backplane/registry/plugin_abi.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// What `BACKPLANE_PLUGIN` hands to a plugin: it takes down, in order, what the plugin provides. [load-time only]
class PluginRegistrar {
 public:
  explicit PluginRegistrar(Registration& registration) : registration_(registration) {}

  /// A configuration, under its own model_type or under another that shares it.
  template <class Config>
  void config(std::string model_type = Config::model_type) {
    model_type_ = model_type;
    registration_.configs.push_back({std::move(model_type), type_name<Config>(), &create_config<Config>, nullptr});
  }

  /// A model class for an auto class and the model_type of the last `config`. `Model::Config` is its configuration;
  /// a class without sdpa attention says `static constexpr bool supports_sdpa = false;` and runs eager (AC-114,
  /// AC-115).
  template <class Model>
  void model(AutoClass auto_class) {
    bool sdpa = true;
    if constexpr (requires { Model::supports_sdpa; }) sdpa = Model::supports_sdpa;
    registration_.models.push_back({std::string(auto_class.name), model_type_, type_name<Model>(),
                                    type_name<typename Model::Config>(), &backplane::create_model<Model>, nullptr,
                                    sdpa});
  }

  /// Tokenizer classes by name, for the model_type of the last `config`; an empty name: there is none of that kind.
  void tokenizer(std::string slow, std::string fast) {
    preprocessor(Auto::Tokenizer, std::move(slow), std::move(fast));
  }

  /// Any preprocessing class by name (image processor: slow and fast; the others: slow).
  void preprocessor(AutoClass auto_class, std::string slow, std::string fast = "") {
    registration_.preprocessors.push_back(
        {std::string(auto_class.name), model_type_, std::move(slow), std::move(fast), nullptr});
  }

  /// How GGUF files of an architecture become models of this plugin.
  void gguf(GgufMapping mapping) { registration_.ggufs.push_back({std::move(mapping), nullptr}); }

 private:
  template <class Config>
  static std::shared_ptr<PretrainedConfig> create_config() {
    return make_config<Config>();
  }

  Registration& registration_;
  std::string model_type_;
};

namespace detail {

template <void (*Register)(PluginRegistrar&)>
int32_t register_plugin(const backplane_host_v1* host, void* registration) noexcept {
  std::string_view message = "an exception that is no std::exception";
  try {
    PluginRegistrar registrar(*static_cast<Registration*>(registration));
    Register(registrar);
    return 0;
  } catch (const std::exception& error) {
    message = error.what();
    host->set_error(host->context, message.data(), message.size());
  } catch (...) {
    host->set_error(host->context, message.data(), message.size());
  }
  return 1;
}

}  // namespace detail
}  // namespace backplane

/// Defines the plugin; the body registers what it provides. `name` is the one given to backplane_add_plugin(), as an
/// identifier. The exported entry and the build information stand in a source that backplane_add_plugin() writes.
#define BACKPLANE_PLUGIN(name, registrar)                                                                             \
  static void backplane_register_##name(::backplane::PluginRegistrar&);                                               \
  extern "C" const backplane_build_info backplane_build_info_##name;                                                  \
  extern "C" __attribute__((visibility("hidden")))                                                                    \
  const backplane_plugin_v1* backplane_plugin_entry_##name(const backplane_host_v1*) {                                \
    static constexpr ::backplane::BuildFingerprint kFingerprint(BACKPLANE_TORCH_BUILD);                               \
    static constexpr backplane_plugin_v1 kPlugin = {sizeof(backplane_plugin_v1),                                      \
                                                    BACKPLANE_ABI_VERSION,                                            \
                                                    &backplane_build_info_##name,                                     \
                                                    {kFingerprint.text().data(), kFingerprint.text().size()},         \
                                                    &::backplane::detail::register_plugin<backplane_register_##name>, \
                                                    {}};                                                              \
    return &kPlugin;                                                                                                  \
  }                                                                                                                   \
  static void backplane_register_##name([[maybe_unused]] ::backplane::PluginRegistrar& registrar)
