#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace backplane {

/// How far code is trusted that does not belong to this installation. Ordered: each level allows what the one before does.
enum class TrustLevel {
  deny,    // nothing but the plugins of this installation
  locked,  // and those whose sha256 stands in backplane.lock
  allow,   // and every plugin in the folders configured
};
std::string_view to_string(TrustLevel level);
std::optional<TrustLevel> trust_level(std::string_view name);

/// A folder or library to look at, and who asked for it: "--plugin", "BACKPLANE_PLUGIN_PATH", or the settings file.
struct PluginPath {
  std::string path;
  std::string origin;
};

/// What the caller of the process says; the last word on everything but trust, which any source may only tighten.
struct SettingsArguments {
  std::vector<std::string> plugins;  // libraries or folders
  std::optional<TrustLevel> trust;
};

/// The settings of a process. Plain data; made once at start.
struct Settings {
  std::vector<PluginPath> plugin_paths;  // in the order of the search
  std::vector<std::string> disabled;     // plugin ids
  std::map<std::string, std::string, std::less<>> prefer;  // model type -> plugin id, also over a built-in
  std::map<std::string, int64_t, std::less<>> priority;    // plugin id -> number, higher first, 0 where none is given
  TrustLevel trust = TrustLevel::allow;
  std::string lock_file;                 // empty: none
  std::optional<std::string> cache_folder;
  std::optional<std::string> endpoint;
  std::optional<int64_t> threads;
  std::vector<std::string> files;        // backplane.yaml files that were read
};

/// Reads backplane.yaml from the system's, the user's and the working folder (the later wins, key by key; lists of folders
/// add up), then the environment, then `arguments`. A backplane.yaml in the working folder cannot bring code where the
/// folder may be another's: its plugin folders are ignored with a warning when the file belongs to another user, can be
/// written by others, or stands beside a config.json.
/// Throws `bad_settings` with file, line and key.
Settings load_settings(const SettingsArguments& arguments = {});

/// Parses one backplane.yaml over `settings`. `file` is for messages and is what relative paths start from.
void read_settings(Settings& settings, std::string_view yaml, const std::string& file);

/// "$XDG_CONFIG_HOME/backplane" or "~/.config/backplane"; "$XDG_CACHE_HOME/backplane" or "~/.cache/backplane"; "" without a home.
std::string user_config_folder();
std::string user_cache_folder();

/// The plugin folder of this installation: beside the library in a build tree, below it in an installed one.
std::string built_in_plugin_folder();

/// Hands `cache` and `endpoint` of the settings to the hub, once a process; every from_pretrained does it. Thread-safe.
/// Throws as load_settings.
void use_hub_settings();

}  // namespace backplane
