#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/registry/registry.h"

namespace backplane {

/// What a plugin's library says about itself without being opened: the JSON in its ELF note.
struct Manifest {
  static constexpr int64_t kFormat = 1;

  struct Config {
    std::string model_type;
    std::string class_name;
    friend bool operator==(const Config&, const Config&) = default;
  };
  struct Model {
    std::string auto_class;
    std::string model_type;
    std::string class_name;
    std::string config_class;
    friend bool operator==(const Model&, const Model&) = default;
  };
  struct Preprocessor {
    std::string auto_class;
    std::string model_type;
    std::string slow;
    std::string fast;
    friend bool operator==(const Preprocessor&, const Preprocessor&) = default;
  };
  struct Gguf {
    std::string architecture;
    std::string model_type;
    friend bool operator==(const Gguf&, const Gguf&) = default;
  };

  std::string id;
  std::string version;
  std::string license;
  std::string source;       // commit of the sources, "-dirty" appended where they were changed; empty: unknown
  std::string fingerprint;  // "key=value" lines
  std::vector<Config> configs;
  std::vector<Model> models;
  std::vector<Preprocessor> preprocessors;
  std::vector<Gguf> ggufs;

  /// The model types, each once, in order.
  std::vector<std::string> model_types() const;
  /// Takes down what a plugin registered.
  void set_provides(const Registration& registration);
  /// The same lists of entries in both.
  bool provides_the_same(const Manifest& other) const;
  /// The entries without factories, those of GGUF without tables. The texts of the latter are this manifest's.
  Registration declaration(const ProviderPtr& provider) const;
};

/// One line of JSON.
std::string to_json(const Manifest& manifest);

/// Throws `bad_plugin` that names `path` for anything that is no manifest of this format: wrong kinds, ids and class
/// names with other characters than such names have.
Manifest parse_manifest(std::string_view json, const std::string& path);

}  // namespace backplane
