#include "backplane/host/plugin_host.h"

#include <dirent.h>

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <tuple>

#include "backplane/base/digest.h"
#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/host/library.h"
#include "backplane/host/probe.h"
#include "backplane/registry/elf_note.h"
#include "backplane/registry/fingerprint.h"
#include "backplane/registry/plugin_source.h"
#include "file_state.h"
#include "sidecar.h"

namespace backplane {
namespace {

namespace fs = boost::filesystem;

// The entries of a registration that `keep` takes, by model type, or by architecture for GGUF.
template <class Keep>
Registration filtered(Registration registration, Keep keep) {
  const auto drop = [&](const auto& entry) { return !keep(entry); };
  std::erase_if(registration.configs, drop);
  std::erase_if(registration.models, drop);
  std::erase_if(registration.preprocessors, drop);
  std::erase_if(registration.ggufs, drop);
  return registration;
}

std::string key_of(const ConfigEntry& e) { return concat("AutoConfig for '", e.model_type, "'"); }
std::string key_of(const ModelEntry& e) { return concat(e.auto_class, " for '", e.model_type, "'"); }
std::string key_of(const PreprocessorEntry& e) { return concat(e.auto_class, " for '", e.model_type, "'"); }
std::string key_of(const GgufEntry& e) { return concat("GGUF architecture '", e.mapping.architecture, "' for '", e.mapping.model_type, "'"); }

std::string type_of(const GgufEntry& e) { return std::string(e.mapping.model_type); }
template <class Entry>
std::string type_of(const Entry& e) {
  return e.model_type;
}

// Reserved for plugins of Backplane itself: an id without a dot, in the installation's own folder.
bool is_built_in(const std::string& id, const std::string& origin) {
  return origin == "installation" && id.find('.') == std::string::npos;
}

// Libraries of a folder and their sidecars, by name.
struct Listing {
  std::vector<std::string> libraries;
  std::vector<std::string> sidecars;
};

Listing list_folder(const std::string& folder) {
  Listing listing;
  DIR* stream = ::opendir(folder.c_str());
  if (stream == nullptr) {
    throw Error(errno == ENOENT || errno == ENOTDIR ? ErrorCode::file_not_found : ErrorCode::io, std::strerror(errno));
  }
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR || name.starts_with('.')) continue;
    if (name.ends_with(".so")) listing.libraries.emplace_back(name);
    if (name.ends_with(".yaml")) listing.sidecars.emplace_back(name);
  }
  ::closedir(stream);
  std::sort(listing.libraries.begin(), listing.libraries.end());
  return listing;
}

// Throws `plugin_failed` for a library that crashed when it was probed, now or before.
void probe_once(const PluginRecord& record) {
  Verdicts verdicts(user_cache_folder());
  auto verdict = verdicts.find(record.path);
  if (!verdict) {
    verdict = Verdicts::Verdict{record.path, probe_plugin(record.path, record.manifest)};
    verdicts.put(record.path, verdict->reason);
  }
  if (verdict->reason.empty()) return;
  throw Error(ErrorCode::plugin_failed, concat(record.path, ": ", verdict->reason,
                                               "; it is left alone for a week, or until it is rebuilt, or until 'backplane plugins clear ",
                                               record.manifest.id, "'"));
}

}  // namespace

struct PluginHost::Plugin {
  PluginRecord record;
  ProviderPtr provider;
  FileState file;
  ErrorCode code = ErrorCode::bad_plugin;     // of record.reason
  std::vector<std::string> owned;             // keys of the entries that are declared for it
  std::map<std::string, std::string> lost;    // model type -> who has its configuration instead

  bool owns(const std::string& key) const { return std::find(owned.begin(), owned.end(), key) != owned.end(); }
  void refuse(PluginState state, ErrorCode why, std::string_view reason) {
    if (reason.starts_with(record.path + ": ")) reason.remove_prefix(record.path.size() + 2);
    record.state = state;
    record.reason = reason;
    code = why;
  }
};

std::string_view to_string(PluginState state) {
  switch (state) {
    case PluginState::available: return "available";
    case PluginState::loaded: return "loaded";
    case PluginState::shadowed: return "shadowed";
    case PluginState::disabled: return "disabled";
    case PluginState::untrusted: return "untrusted";
    case PluginState::incompatible: return "incompatible";
    case PluginState::invalid: return "invalid";
    case PluginState::failed: return "failed";
  }
  return "";
}

PluginHost& PluginHost::process() {
  static auto& host = *new PluginHost(Registry::process());
  return host;
}

void PluginHost::discover(const Settings& settings) {
  std::lock_guard lock(mutex_);
  discover_locked(settings);
}

void PluginHost::declare() {
  if (declared_.load(std::memory_order_acquire)) return;
  std::lock_guard lock(mutex_);
  if (!declared_) discover_locked(load_settings());
}

void PluginHost::discover_locked(const Settings& settings) {
  settings_ = settings;
  trust_ = TrustPolicy(settings);
  searched_.clear();
  std::vector<std::shared_ptr<Plugin>> found;
  std::map<std::string, size_t> seen;  // path -> in `found`

  const auto look_at = [&](const std::string& path, const std::string& origin, const std::string& sidecar) {
    if (!seen.emplace(path, found.size()).second) return;
    const auto known = std::find_if(plugins_.begin(), plugins_.end(), [&](const auto& plugin) {
      return plugin->record.path == path && plugin->record.state == PluginState::loaded;
    });
    if (known != plugins_.end()) {
      found.push_back(*known);
      return;
    }
    auto plugin = std::make_shared<Plugin>();
    auto& record = plugin->record;
    record.path = path;
    record.origin = origin;
    try {
      plugin->file = file_state(path);
      record.manifest = parse_manifest(read_note(path), path);
      record.built_in = is_built_in(record.manifest.id, origin);
      const Sidecar edited = sidecar.empty() ? Sidecar{} : read_sidecar(sidecar);
      const auto priority = settings.priority.find(record.manifest.id);
      record.priority = priority != settings.priority.end() ? priority->second : edited.priority;
      const auto& disabled = settings.disabled;
      if (edited.disabled || std::find(disabled.begin(), disabled.end(), record.manifest.id) != disabled.end()) {
        plugin->refuse(PluginState::disabled, ErrorCode::plugin_not_installed,
                       edited.disabled ? "disabled by " + sidecar : "disabled by the settings");
      } else if (const auto difference = fingerprint_difference(record.manifest.fingerprint, host_fingerprint());
                 !difference.empty()) {
        plugin->refuse(PluginState::incompatible, ErrorCode::incompatible_plugin,
                       concat("built for another host (", difference, "); rebuild the plugin with this host's SDK"));
      } else if (const auto refusal = record.built_in ? "" : trust_.refusal(path); !refusal.empty()) {
        plugin->refuse(PluginState::untrusted, ErrorCode::trust_required, refusal);
      }
    } catch (const Error& error) {
      plugin->refuse(PluginState::invalid, error.code(), error.what());
    }
    plugin->provider = std::make_shared<Provider>(
        Provider{record.manifest.id, record.manifest.version, record.path, record.built_in});
    found.push_back(std::move(plugin));
  };

  for (const auto& place : settings.plugin_paths) {
    const std::string path = fs::absolute(place.path).lexically_normal().string();
    if (!folder_exists(path)) {
      if (file_exists(path)) {
        const std::string sidecar = path.substr(0, path.size() - std::min<size_t>(path.size(), 3)) + ".yaml";
        look_at(path, place.origin, file_exists(sidecar) ? sidecar : "");
        searched_.push_back(path);
      } else if (place.origin == "--plugin") {
        throw Error(ErrorCode::file_not_found, concat("--plugin ", place.path, ": there is no such library or folder"));
      } else {
        searched_.push_back(path + " (missing)");
      }
      continue;
    }
    try {
      const Listing listing = list_folder(path);
      searched_.push_back(path);
      for (const auto& name : listing.libraries) {
        const std::string sidecar = name.substr(0, name.size() - 3) + ".yaml";
        const bool edited = std::find(listing.sidecars.begin(), listing.sidecars.end(), sidecar) != listing.sidecars.end();
        look_at(path + "/" + name, place.origin, edited ? path + "/" + sidecar : "");
      }
    } catch (const Error& error) {
      searched_.push_back(concat(path, " (", error.what(), ")"));
    }
  }

  for (const auto& plugin : plugins_) {
    if (plugin->record.state != PluginState::loaded) registry_.remove(*plugin->provider);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tuple(!a->record.built_in, -a->record.priority) < std::tuple(!b->record.built_in, -b->record.priority);
  });
  plugins_ = std::move(found);
  declare_locked();
  declared_.store(true, std::memory_order_release);
}

std::vector<PluginHost::Plugin*> PluginHost::candidates_locked(std::string_view model_type) const {
  std::vector<Plugin*> candidates;
  for (const auto& plugin : plugins_) {
    const auto types = plugin->record.manifest.model_types();
    if (std::find(types.begin(), types.end(), model_type) != types.end()) candidates.push_back(plugin.get());
  }
  const auto preferred = settings_.prefer.find(model_type);
  if (preferred != settings_.prefer.end()) {
    std::stable_partition(candidates.begin(), candidates.end(),
                          [&](const Plugin* plugin) { return plugin->record.manifest.id == preferred->second; });
  }
  return candidates;
}

void PluginHost::declare_locked() {
  std::map<std::string, const Plugin*> owner;       // of an entry
  std::map<std::string, const Plugin*> configured;  // model type -> who has its configuration
  const auto name = [](const Plugin& plugin) { return concat(plugin.record.manifest.id, " (", plugin.record.path, ")"); };

  for (const auto& [type, id] : settings_.prefer) {
    for (const auto& plugin : plugins_) {
      const auto& configs = plugin->record.manifest.configs;
      if (plugin->record.usable() && plugin->record.manifest.id == id &&
          std::any_of(configs.begin(), configs.end(), [&](const auto& config) { return config.model_type == type; })) {
        configured.emplace(type, plugin.get());
      }
    }
  }

  const auto declare = [&](Plugin& plugin) {
    auto& record = plugin.record;
    plugin.owned.clear();
    plugin.lost.clear();
    record.conflicts.clear();
    // A type is given away as a whole: models without their own configuration would not work.
    for (const auto& config : record.manifest.configs) {
      const auto first = configured.emplace(config.model_type, &plugin).first->second;
      if (first != &plugin) plugin.lost.emplace(config.model_type, name(*first));
    }
    const auto keep = [&](const auto& entry) {
      const std::string key = key_of(entry);
      const auto lost = plugin.lost.find(type_of(entry));
      const auto* winner = lost == plugin.lost.end() ? owner.emplace(key, &plugin).first->second : nullptr;
      if (winner == &plugin) {
        plugin.owned.push_back(key);
        return true;
      }
      record.conflicts.push_back(concat(key, " comes from ", winner ? name(*winner) : lost->second));
      return false;
    };
    Registration declaration = filtered(record.manifest.declaration(plugin.provider), keep);
    if (record.state == PluginState::loaded) return;  // its factories are in the registry
    try {
      registry_.add(std::move(declaration));
    } catch (const Error& error) {  // the program itself has registered one of the entries
      plugin.owned.clear();
      record.conflicts.push_back(error.what());
    }
    if (record.usable() && plugin.owned.empty()) {
      plugin.refuse(PluginState::shadowed, ErrorCode::already_registered,
                    record.conflicts.empty() ? "provides nothing" : record.conflicts.front());
    }
  };

  for (const auto& plugin : plugins_) {
    if (plugin->record.state == PluginState::shadowed) {
      plugin->record.state = PluginState::available;
      plugin->record.reason.clear();
    }
  }
  for (const auto& plugin : plugins_) {
    if (plugin->record.usable()) declare(*plugin);
  }
  // What only an unusable plugin provides is declared for it, so that a dispatch says why it cannot be had.
  for (const auto& plugin : plugins_) {
    if (!plugin->record.usable() && plugin->record.state != PluginState::shadowed) declare(*plugin);
  }
}

void PluginHost::open_locked(Plugin& plugin) {
  const auto& record = plugin.record;
  if (file_state(record.path) != plugin.file) {
    throw Error(ErrorCode::bad_plugin, concat(record.path, ": changed since this process looked at it; start again"));
  }
  if (!record.built_in && trust_.needs_content()) {
    const auto refusal = trust_.refusal_of_content(sha256_file(record.path));
    if (!refusal.empty()) throw Error(ErrorCode::trust_required, concat(record.path, ": ", refusal));
  } else if (!record.built_in) {
    probe_once(record);
  }
  Registration registration = open_plugin(record.path, record.manifest);
  for (auto& entry : registration.configs) entry.provider = plugin.provider;
  for (auto& entry : registration.models) entry.provider = plugin.provider;
  for (auto& entry : registration.preprocessors) entry.provider = plugin.provider;
  for (auto& entry : registration.ggufs) entry.provider = plugin.provider;
  registry_.add(filtered(std::move(registration), [&](const auto& entry) { return plugin.owns(key_of(entry)); }));
}

void PluginHost::load(const Provider& provider) {
  std::lock_guard lock(mutex_);
  const auto found = std::find_if(plugins_.begin(), plugins_.end(), [&](const auto& plugin) {
    return plugin->record.manifest.id == provider.id && plugin->record.path == provider.path;
  });
  if (found == plugins_.end()) {
    throw Error(ErrorCode::plugin_not_installed, concat("plugin '", provider.id, "' is not installed any more"));
  }
  load_locked(**found);
}

void PluginHost::load_locked(Plugin& plugin) {
  const auto& record = plugin.record;
  if (record.state == PluginState::loaded) return;
  if (record.state != PluginState::available) throw Error(plugin.code, concat(record.path, ": ", record.reason));
  const auto owned = plugin.owned;
  try {
    open_locked(plugin);
    plugin.record.state = PluginState::loaded;
  } catch (const Error& error) {
    plugin.refuse(error.code() == ErrorCode::trust_required ? PluginState::untrusted : PluginState::failed, error.code(),
                  error.what());
    for (const auto& other : plugins_) {
      if (other->record.state != PluginState::loaded) registry_.remove(*other->provider);
    }
    declare_locked();
    const auto next = std::find_if(plugins_.begin(), plugins_.end(), [&](const auto& other) {
      return other->record.state == PluginState::available &&
             std::any_of(owned.begin(), owned.end(), [&](const auto& key) { return other->owns(key); });
    });
    if (next == plugins_.end()) throw;
    warn(concat(error.what(), "; ", (*next)->record.manifest.id, " (", (*next)->record.path, ") is used instead"));
    load_locked(**next);
  }
}

std::vector<PluginRecord> PluginHost::list() {
  declare();
  std::lock_guard lock(mutex_);
  std::vector<PluginRecord> records;
  for (const auto& plugin : plugins_) records.push_back(plugin->record);
  return records;
}

std::vector<PluginCandidate> PluginHost::why(std::string_view model_type) {
  declare();
  std::lock_guard lock(mutex_);
  std::vector<PluginCandidate> candidates;
  for (const Plugin* plugin : candidates_locked(model_type)) {
    PluginCandidate candidate{plugin->record, false, plugin->record.reason};
    if (plugin->record.usable()) {
      const auto lost = plugin->lost.find(std::string(model_type));
      candidate.chosen = lost == plugin->lost.end();
      if (!candidate.chosen) candidate.reason = concat("'", model_type, "' comes from ", lost->second);
    }
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

std::vector<std::string> PluginHost::searched() {
  declare();
  std::lock_guard lock(mutex_);
  return searched_;
}

namespace {

// The registry asks the process's host for what a manifest promised; set when this library is opened.
class ProcessPlugins : public PluginSource {
 public:
  void declare(Registry&) override { PluginHost::process().declare(); }
  void load(Registry&, const Provider& provider) override { PluginHost::process().load(provider); }
  std::vector<std::string> searched() const override { return PluginHost::process().searched(); }
};

const bool kInstalled = (set_plugin_source(std::make_shared<ProcessPlugins>()), true);

}  // namespace
}  // namespace backplane
