#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/formats/gguf_mapping.h"
#include "backplane/registry/auto_class.h"

namespace backplane {

class PretrainedConfig;
class PreTrainedModel;

using ConfigFactory = std::shared_ptr<PretrainedConfig> (*)();
using ModelFactory = std::shared_ptr<PreTrainedModel> (*)(const PretrainedConfig&);

/// Who brings a class.
struct Provider {
  std::string
      id;  // "bert", "org.me.foo"; "core" for classes of the core; "process" for registration by the host program
  std::string version;
  std::string path;  // of the library; empty for "core" and "process"
  bool built_in = false;
};
using ProviderPtr = std::shared_ptr<const Provider>;

/// model_type -> configuration class.
struct ConfigEntry {
  std::string model_type;
  std::string class_name;
  ConfigFactory create = nullptr;  // null: declared by a manifest, the provider is not loaded yet
  ProviderPtr provider;
};

/// auto class x model_type -> model class.
struct ModelEntry {
  std::string auto_class;
  std::string model_type;
  std::string class_name;
  std::string config_class;
  ModelFactory create = nullptr;  // null: declared only
  ProviderPtr provider;
  bool supports_sdpa = true;
};

/// auto class x model_type -> tokenizer or processor class, by name: slow, fast, or both.
struct PreprocessorEntry {
  std::string auto_class;
  std::string model_type;
  std::string slow;
  std::string fast;
  ProviderPtr provider;
};

/// How files of a GGUF architecture become a model of the plugin.
struct GgufEntry {
  GgufMapping mapping;
  ProviderPtr provider;
};

/// What one plugin provides, in the order in which it registered.
struct Registration {
  std::vector<ConfigEntry> configs;
  std::vector<ModelEntry> models;
  std::vector<PreprocessorEntry> preprocessors;
  std::vector<GgufEntry> ggufs;
};

/// The one central table: auto class x model_type -> class, and who provides it. Thread-safe. Knows no loader: the host
/// declares what manifests promise, and adds the factories when a plugin has been loaded.
class Registry {
 public:
  /// The table of this process. Lives in the registry's own library, so that host and plugins see one object.
  static Registry& process();

  /// Adds all entries or, when one is refused, none. An entry with a factory replaces the same provider's declaration.
  /// Throws `already_registered` when another provider has the entry, unless `exist_ok` (AC-29, AC-31).
  void add(Registration registration, bool exist_ok = false);

  /// Forgets everything of a provider; objects made by it stay valid, since its library stays loaded.
  void remove(std::string_view provider_id);
  void remove(const Provider& provider);

  std::optional<ConfigEntry> config(std::string_view model_type) const;
  /// By class name, where several types share it: the last one registered (AC-24).
  std::optional<ConfigEntry> config_of_class(std::string_view class_name) const;
  /// In order of registration; more than one: `architectures` picks, else the first.
  std::vector<ModelEntry> models(std::string_view auto_class, std::string_view model_type) const;
  std::optional<PreprocessorEntry> preprocessor(std::string_view auto_class, std::string_view model_type) const;

  /// All that read files of a general.architecture, by model type; choose_gguf_mapping picks for a file.
  std::vector<GgufEntry> ggufs(std::string_view architecture) const;
  /// Whether some type's slow or fast class of the auto class has that name (AC-124).
  bool has_preprocessor_class(std::string_view auto_class, std::string_view class_name) const;
  /// The types that share a configuration class, the last one registered first (AC-24).
  std::vector<std::string> types_of_config_class(std::string_view class_name) const;

  /// In order of registration.
  std::vector<std::string> model_types() const;
  std::vector<std::string> auto_classes() const;

 private:
  void remove_if(const std::function<bool(const Provider&)>& unwanted);

  // auto class, model type
  struct KeyLess {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      const int order = std::string_view(a.first).compare(b.first);
      return order != 0 ? order < 0 : std::string_view(a.second) < std::string_view(b.second);
    }
  };
  using Key = std::pair<std::string, std::string>;

  mutable std::shared_mutex mutex_;
  std::vector<std::string> type_order_;
  std::map<std::string, ConfigEntry, std::less<>> configs_;
  std::map<std::string, std::vector<std::string>, std::less<>> types_of_class_;  // in order of registration
  std::map<Key, std::vector<ModelEntry>, KeyLess> models_;
  std::map<Key, PreprocessorEntry, KeyLess> preprocessors_;
  std::map<Key, GgufEntry, KeyLess> ggufs_;  // architecture, model type
};

}  // namespace backplane
