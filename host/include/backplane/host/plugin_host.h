#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/host/settings.h"
#include "backplane/host/trust.h"
#include "backplane/registry/manifest.h"
#include "backplane/registry/registry.h"

namespace backplane {

enum class PluginState {
  available,     // declared; opened when a model needs it
  loaded,
  shadowed,      // everything it provides comes from a plugin before it
  disabled,      // by the settings or by its plugin.yaml
  untrusted,     // the trust policy refuses it
  incompatible,  // built for another host
  invalid,       // no plugin, or malformed
  failed,        // opening it failed
};
std::string_view to_string(PluginState state);

/// A library that discovery looked at.
struct PluginRecord {
  std::string path;
  std::string origin;  // who asked for its folder: "--plugin", "BACKPLANE_PLUGIN_PATH", a settings file, "user", "installation"
  Manifest manifest;   // empty where `state` is `invalid`
  bool built_in = false;
  int64_t priority = 0;
  PluginState state = PluginState::available;
  std::string reason;                  // why it is not usable; empty otherwise
  std::vector<std::string> conflicts;  // entries that come from another plugin, with the reason

  bool usable() const { return state == PluginState::available || state == PluginState::loaded; }
};

/// A plugin that provides a model type, in the order in which they are considered.
struct PluginCandidate {
  PluginRecord plugin;
  bool chosen = false;
  std::string reason;
};

/// The plugins of a process: found by reading notes, declared in a registry, opened at the first dispatch to them, never
/// closed. Thread-safe; one plugin is opened at a time.
///
/// The order of candidates for a model type: what `plugins.prefer` of the settings names; built-in plugins; higher priority;
/// the order of the folders, and of file names within a folder. The first has the type's configuration and all that goes with
/// it; the others are listed as conflicts. A plugin may add auto classes to a type that another provides.
class PluginHost {
 public:
  /// That of the process, over Registry::process(). Looks for plugins when something first asks, by load_settings().
  static PluginHost& process();

  explicit PluginHost(Registry& registry) : registry_(registry) {}

  /// Looks for plugins by these settings and declares them. What was declared before and is not loaded is forgotten.
  void discover(const Settings& settings);
  /// Does so by load_settings() if nobody did before.
  void declare();

  /// Opens a declared plugin and adds its factories. Where it fails, the next candidate for what it provided takes over, with a
  /// warning; throws the first one's error where there is none: `bad_plugin`, `incompatible_plugin`, `plugin_failed`,
  /// `trust_required`, `missing_dependency`.
  void load(const Provider& provider);

  std::vector<PluginRecord> list();
  std::vector<PluginCandidate> why(std::string_view model_type);
  /// The folders and libraries that were looked at: "<path>", with " (missing)" where there is nothing.
  std::vector<std::string> searched();

 private:
  struct Plugin;
  void discover_locked(const Settings& settings);
  void declare_locked();
  void open_locked(Plugin& plugin);
  void load_locked(Plugin& plugin);
  std::vector<Plugin*> candidates_locked(std::string_view model_type) const;

  Registry& registry_;
  std::mutex mutex_;
  std::atomic<bool> declared_ = false;
  Settings settings_;
  TrustPolicy trust_;
  std::vector<std::shared_ptr<Plugin>> plugins_;  // in the order of candidates
  std::vector<std::string> searched_;
};

}  // namespace backplane
