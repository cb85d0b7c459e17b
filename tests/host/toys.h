#pragma once

#include <boost/filesystem.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "backplane/base/error.h"
#include "backplane/host/plugin_host.h"

namespace backplane::test {

namespace fs = boost::filesystem;

/// A folder that goes with the test. The process's caches and settings are inside while it lives.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / fs::unique_path("backplane-test-%%%%%%%%")) {
    fs::create_directories(path_ / "plugins");
    ::setenv("XDG_CACHE_HOME", (path_ / "cache").c_str(), 1);
    ::setenv("XDG_CONFIG_HOME", (path_ / "config").c_str(), 1);
    ::unsetenv("BACKPLANE_PLUGIN_PATH");
    ::unsetenv("BACKPLANE_TRUST");
    ::unsetenv("BACKPLANE_EVIL");
  }
  ~Folder() {
    ::unsetenv("BACKPLANE_EVIL");
    fs::remove_all(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path() const { return path_.string(); }
  std::string plugins() const { return (path_ / "plugins").string(); }

  /// Copies a plugin of tests/plugins under a name of its own.
  std::string copy(const std::string& toy, const std::string& as) const {
    const fs::path to = path_ / "plugins" / as;
    fs::copy_file(fs::path(BACKPLANE_BINARY_DIR) / "tests" / "plugins" / ("lib" + toy + ".so"), to);
    return to.string();
  }
  std::string write(const std::string& name, const std::string& text) const {
    const fs::path to = path_ / name;
    fs::create_directories(to.parent_path());
    std::ofstream(to.string(), std::ios::binary) << text;
    return to.string();
  }

  Settings settings(const std::string& origin = "BACKPLANE_PLUGIN_PATH") const {
    Settings settings;
    settings.plugin_paths = {{plugins(), origin}};
    return settings;
  }

 private:
  fs::path path_;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The error of `call` as "code: message"; "" where it succeeds.
template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(to_string(error.code())) + ": " + error.what();
  }
  return "";
}

/// A host over a registry of its own.
struct Host {
  Registry registry;
  PluginHost plugins{registry};

  explicit Host(const Settings& settings) { plugins.discover(settings); }
  std::string load(const std::string& model_type) {
    const auto entry = registry.config(model_type);
    if (!entry) return "no entry";
    if (entry->create) return "";
    return error_of([&] { plugins.load(*entry->provider); });
  }
};

}  // namespace backplane::test
