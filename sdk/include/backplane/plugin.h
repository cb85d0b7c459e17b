#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "backplane/base/type_name.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/plugin_abi.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// What `BACKPLANE_PLUGIN` hands to a plugin: it takes down, in order, what the plugin provides. [load-time only]
class PluginRegistrar {
 public:
  explicit PluginRegistrar(ProviderPtr provider) : provider_(std::move(provider)) {}

  /// A configuration, under its own model_type or under another that shares it.
  template <class Config>
  void config(std::string model_type = Config::model_type) {
    model_type_ = model_type;
    registration_.configs.push_back({std::move(model_type), type_name<Config>(), &create_config<Config>, provider_});
  }

  /// A model class for an auto class and the model_type of the last `config`. `Model::Config` is its configuration.
  template <class Model>
  void model(AutoClass auto_class) {
    registration_.models.push_back(
        {std::string(auto_class.name), model_type_, type_name<Model>(), type_name<typename Model::Config>(), &create_model<Model>, provider_});
  }

  /// Tokenizer classes by name, for the model_type of the last `config`; an empty name: there is none of that kind.
  void tokenizer(std::string slow, std::string fast) { preprocessor(Auto::Tokenizer, std::move(slow), std::move(fast)); }

  /// Any preprocessing class by name (image processor: slow and fast; the others: slow).
  void preprocessor(AutoClass auto_class, std::string slow, std::string fast = "") {
    registration_.preprocessors.push_back({std::string(auto_class.name), model_type_, std::move(slow), std::move(fast), provider_});
  }

  /// How GGUF files of an architecture become models of this plugin.
  void gguf(GgufMapping mapping) { registration_.ggufs.push_back({std::move(mapping), provider_}); }

  const Registration& registration() const { return registration_; }

 private:
  template <class Config>
  static std::shared_ptr<PretrainedConfig> create_config() {
    return make_config<Config>();
  }
  template <class Model>
  static std::shared_ptr<PreTrainedModel> create_model(const PretrainedConfig& config) {
    auto own = std::make_shared<typename Model::Config>(dynamic_cast<const typename Model::Config&>(config));
    own->validate();
    auto model = std::make_shared<Model>(*own);
    model->own_config(own);
    model->tie_weights();
    return model;
  }

  ProviderPtr provider_;
  std::string model_type_;
  Registration registration_;
};

namespace detail {

// Set by the build (backplane_add_plugin).
#ifdef BACKPLANE_PLUGIN_FINGERPRINT
inline constexpr std::string_view kPluginFingerprint = BACKPLANE_PLUGIN_FINGERPRINT;
#else
inline constexpr std::string_view kPluginFingerprint = "";
#endif

template <void (*Register)(PluginRegistrar&)>
int32_t register_plugin(const backplane_host_v1* host, void* registrar) {
  try {
    Register(*static_cast<PluginRegistrar*>(registrar));
    return 0;
  } catch (const std::exception& error) {
    const std::string_view message = error.what();
    host->set_error(host->context, message.data(), message.size());
  } catch (...) {
    constexpr std::string_view kMessage = "an exception that is no std::exception";
    host->set_error(host->context, kMessage.data(), kMessage.size());
  }
  return 1;
}

}  // namespace detail

}  // namespace backplane

#ifndef BACKPLANE_PLUGIN_VERSION
#define BACKPLANE_PLUGIN_VERSION "0.0.0"
#endif
#ifndef BACKPLANE_ENTRY_NAME  // the static form has one entry a plugin
#define BACKPLANE_ENTRY_NAME backplane_plugin_entry
#endif
#ifdef BACKPLANE_PLUGIN_ID
#define BACKPLANE_PLUGIN_ID_OF(name) BACKPLANE_PLUGIN_ID
#else
#define BACKPLANE_PLUGIN_ID_OF(name) #name
#endif

/// Defines the plugin's entry; the body registers. `name` is the plugin's id as an identifier; the build may set another
/// id (BACKPLANE_PLUGIN_ID).
#define BACKPLANE_PLUGIN(name, registrar)                                                                             \
  static void backplane_register_##name(::backplane::PluginRegistrar&);                                               \
  extern "C" __attribute__((visibility("default"))) const backplane_plugin_v1* BACKPLANE_ENTRY_NAME(                  \
      const backplane_host_v1*) {                                                                                     \
    static constexpr std::string_view kId = BACKPLANE_PLUGIN_ID_OF(name);                                             \
    static constexpr std::string_view kVersion = BACKPLANE_PLUGIN_VERSION;                                            \
    static constexpr std::string_view kFingerprint = ::backplane::detail::kPluginFingerprint;                         \
    static constexpr backplane_plugin_v1 kPlugin = {sizeof(backplane_plugin_v1),                                      \
                                                    BACKPLANE_ABI_VERSION,                                            \
                                                    {kId.data(), kId.size()},                                         \
                                                    {kVersion.data(), kVersion.size()},                               \
                                                    {kFingerprint.data(), kFingerprint.size()},                       \
                                                    &::backplane::detail::register_plugin<backplane_register_##name>, \
                                                    {}};                                                              \
    return &kPlugin;                                                                                                  \
  }                                                                                                                   \
  static void backplane_register_##name([[maybe_unused]] ::backplane::PluginRegistrar& registrar)
