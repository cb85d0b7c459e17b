#include "backplane/host/settings.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cstdlib>
#include <functional>
#include <mutex>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/hub/hub.h"
#include "sidecar.h"

namespace backplane {
namespace {

namespace fs = boost::filesystem;

constexpr char kFileName[] = "backplane.yaml";
constexpr char kSystemFolder[] = "/etc/backplane";
constexpr uint64_t kMaxBytes = 1 << 20;
constexpr int kMaxNesting = 32;
constexpr int64_t kMaxPriority = 1'000'000;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// yaml-cpp descends once per bracket or indentation, so depth is bounded before it sees the text.
bool nested_too_deeply(std::string_view yaml) {
  int brackets = 0;
  for (const std::string& line : split(yaml, '\n')) {
    const size_t indent = line.find_first_not_of(' ');
    if (indent == std::string::npos) continue;
    int dashes = 0;
    for (size_t i = indent; i < line.size() && (line[i] == '-' || line[i] == ' ' || line[i] == '?'); ++i)
      dashes += line[i] != ' ';
    for (const char c : line) brackets += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (indent > kMaxNesting * 2 || dashes > kMaxNesting || brackets > kMaxNesting) return true;
  }
  return false;
}

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

 protected:
  using Member = std::pair<const char*, std::function<void(const YAML::Node&)>>;

  [[noreturn]] void refuse(const YAML::Node& node, const std::string& why) const {
    throw Error(ErrorCode::bad_settings, concat(file_, ":", node.Mark().line + 1, ": ", why));
  }

  void section(const YAML::Node& node, const std::string& name, const std::vector<Member>& members) const {
    if (!node.IsMap())
      refuse(node, concat(name.empty() ? "the file" : "'" + name + "'", " must be a map of keys and values"));
    for (const auto& entry : node) {
      const std::string key = text(entry.first, "a key");
      const auto member = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.first == key; });
      if (member == members.end()) {
        std::vector<std::string> known;
        for (const auto& m : members) known.push_back(m.first);
        refuse(entry.first, concat("unknown key '", name, name.empty() ? "" : ".", key, "'; known: ", join(known)));
      }
      member->second(entry.second);
    }
  }

  std::string text(const YAML::Node& node, const std::string& key) const {
    if (!node.IsScalar()) refuse(node, concat("'", key, "' must be a text"));
    return node.Scalar();
  }

  int64_t number(const YAML::Node& node, const std::string& key, int64_t least, int64_t most) const {
    int64_t value = 0;
    if (!node.IsScalar() || !YAML::convert<int64_t>::decode(node, value) || value < least || value > most) {
      refuse(node, concat("'", key, "' must be a whole number from ", least, " to ", most));
    }
    return value;
  }

  std::vector<std::string> list(const YAML::Node& node, const std::string& key) const {
    if (!node.IsSequence()) refuse(node, concat("'", key, "' must be a list"));
    std::vector<std::string> values;
    for (const auto& item : node) values.push_back(text(item, key));
    return values;
  }

  bool boolean(const YAML::Node& node, const std::string& key) const {
    bool value = false;
    if (!node.IsScalar() || !YAML::convert<bool>::decode(node, value))
      refuse(node, concat("'", key, "' must be true or false"));
    return value;
  }

  // "~/x" is below the home folder, a relative path below the file's folder.
  std::string path(const std::string& text) const {
    if (text == "~" || text.starts_with("~/")) return environment("HOME") + text.substr(1);
    return fs::absolute(text, fs::absolute(file_).parent_path()).lexically_normal().string();
  }

  const std::string& file_;
};

class SettingsReader : Reader {
 public:
  SettingsReader(Settings& settings, const std::string& file) : Reader(file), settings_(settings) {}

  void read(const YAML::Node& root) {
    section(root, "",
            {{"plugins", [this](const auto& n) { plugins(n); }},
             {"trust", [this](const auto& n) { trust(n); }},
             {"cache", [this](const auto& n) { settings_.cache_folder = path(text(n, "cache")); }},
             {"endpoint", [this](const auto& n) { settings_.endpoint = text(n, "endpoint"); }},
             {"threads", [this](const auto& n) { settings_.threads = number(n, "threads", 1, 4096); }}});
  }

 private:
  void plugins(const YAML::Node& node) {
    section(node, "plugins",
            {{"folders",
              [this](const auto& n) {
                for (const auto& folder : list(n, "plugins.folders"))
                  settings_.plugin_paths.push_back({path(folder), file_});
              }},
             {"disabled",
              [this](const auto& n) {
                for (auto& id : list(n, "plugins.disabled")) settings_.disabled.push_back(std::move(id));
              }},
             {"prefer",
              [this](const auto& n) {
                if (!n.IsMap()) refuse(n, "'plugins.prefer' must map model types to plugin ids");
                for (const auto& e : n) {
                  settings_.prefer[text(e.first, "plugins.prefer")] = text(e.second, "plugins.prefer");
                }
              }},
             {"priority", [this](const auto& n) {
                if (!n.IsMap()) refuse(n, "'plugins.priority' must map plugin ids to numbers");
                for (const auto& e : n) {
                  settings_.priority[text(e.first, "plugins.priority")] =
                      number(e.second, "plugins.priority", -kMaxPriority, kMaxPriority);
                }
              }}});
  }

  void trust(const YAML::Node& node) {
    section(node, "trust",
            {{"level",
              [this](const auto& n) {
                const auto level = trust_level(text(n, "trust.level"));
                if (!level) refuse(n, concat("'trust.level' is '", n.Scalar(), "'; known: deny, locked, allow"));
                settings_.trust = std::min(settings_.trust, *level);
              }},
             {"lock", [this](const auto& n) { settings_.lock_file = path(text(n, "trust.lock")); }}});
  }

  Settings& settings_;
};

class SidecarReader : Reader {
 public:
  SidecarReader(Sidecar& sidecar, const std::string& file) : Reader(file), sidecar_(sidecar) {}

  void read(const YAML::Node& root) {
    section(root, "",
            {{"priority",
              [this](const auto& n) { sidecar_.priority = number(n, "priority", -kMaxPriority, kMaxPriority); }},
             {"disabled", [this](const auto& n) { sidecar_.disabled = boolean(n, "disabled"); }},
             {"documentation", [this](const auto& n) { text(n, "documentation"); }}});
  }

 private:
  Sidecar& sidecar_;
};

template <class YamlReader>
void read_yaml(YamlReader reader, std::string_view yaml, const std::string& file) {
  if (yaml.size() > kMaxBytes || nested_too_deeply(yaml)) {
    throw Error(ErrorCode::bad_settings, concat(file, ": too long or nested too deeply"));
  }
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    if (root.IsDefined() && !root.IsNull()) reader.read(root);
  } catch (const YAML::Exception& error) {
    throw Error(ErrorCode::bad_settings, concat(file, ":", error.mark.line + 1, ": ", error.msg));
  }
}

bool may_bring_code(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return false;
  return (status.st_uid == ::getuid() || status.st_uid == 0) && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
         !file_exists((file.parent_path() / "config.json").string());
}

}  // namespace

std::string_view to_string(TrustLevel level) {
  switch (level) {
    case TrustLevel::deny:
      return "deny";
    case TrustLevel::locked:
      return "locked";
    case TrustLevel::allow:
      return "allow";
  }
  return "";
}

std::optional<TrustLevel> trust_level(std::string_view name) {
  for (const TrustLevel level : {TrustLevel::deny, TrustLevel::locked, TrustLevel::allow}) {
    if (to_string(level) == name) return level;
  }
  return std::nullopt;
}

std::string user_config_folder() {
  if (const auto folder = environment("XDG_CONFIG_HOME"); !folder.empty()) return folder + "/backplane";
  const auto home = environment("HOME");
  return home.empty() ? "" : home + "/.config/backplane";
}

std::string user_cache_folder() {
  if (const auto folder = environment("XDG_CACHE_HOME"); !folder.empty()) return folder + "/backplane";
  const auto home = environment("HOME");
  return home.empty() ? "" : home + "/.cache/backplane";
}

std::string built_in_plugin_folder() {
  Dl_info library{};
  if (::dladdr(reinterpret_cast<const void*>(&built_in_plugin_folder), &library) == 0 || library.dli_fname == nullptr)
    return "";
  boost::system::error_code ignored;
  const fs::path folder = fs::canonical(library.dli_fname, ignored).parent_path();
  const fs::path installed = folder / "backplane" / "plugins";
  return (fs::is_directory(installed, ignored) ? installed : folder.parent_path() / "plugins").string();
}

void read_settings(Settings& settings, std::string_view yaml, const std::string& file) {
  read_yaml(SettingsReader(settings, file), yaml, file);
}

Sidecar read_sidecar(const std::string& path) {
  Sidecar sidecar;
  read_yaml(SidecarReader(sidecar, path), read_file(path, kMaxBytes), path);
  return sidecar;
}

Settings load_settings(const SettingsArguments& arguments) {
  Settings settings;
  for (const auto& plugin : arguments.plugins) settings.plugin_paths.push_back({plugin, "--plugin"});
  for (const auto& folder : split(environment("BACKPLANE_PLUGIN_PATH"), ':')) {
    if (!folder.empty()) settings.plugin_paths.push_back({folder, "BACKPLANE_PLUGIN_PATH"});
  }

  const std::string user = user_config_folder();
  std::vector<fs::path> files = {fs::path(kSystemFolder) / kFileName};
  if (!user.empty()) files.push_back(fs::path(user) / kFileName);
  boost::system::error_code ignored;
  files.push_back(fs::current_path(ignored) / kFileName);
  std::vector<PluginPath> configured;  // the working folder's first
  for (const auto& file : files) {
    if (!file_exists(file.string())) continue;
    Settings read = settings;
    read.plugin_paths.clear();
    read_settings(read, read_file(file.string(), kMaxBytes), file.string());
    if (file == files.back() && !may_bring_code(file) &&
        (!read.plugin_paths.empty() || read.prefer != settings.prefer || read.lock_file != settings.lock_file)) {
      warn(concat(file.string(),
                  ": its plugins are ignored: the file must be yours, writable by nobody else, and not stand "
                  "in a model's folder"));
      read.plugin_paths.clear();
      read.prefer = settings.prefer;
      read.lock_file = settings.lock_file;
    }
    configured.insert(configured.begin(), read.plugin_paths.begin(), read.plugin_paths.end());
    read.plugin_paths = std::move(settings.plugin_paths);
    settings = std::move(read);
    settings.files.push_back(file.string());
  }
  settings.plugin_paths.insert(settings.plugin_paths.end(), configured.begin(), configured.end());
  if (!user.empty()) settings.plugin_paths.push_back({user + "/plugins", "user"});
  settings.plugin_paths.push_back({built_in_plugin_folder(), "installation"});

  if (const auto level = environment("BACKPLANE_TRUST"); !level.empty()) {
    const auto parsed = trust_level(level);
    if (!parsed)
      throw Error(ErrorCode::bad_settings, concat("BACKPLANE_TRUST is '", level, "'; known: deny, locked, allow"));
    settings.trust = std::min(settings.trust, *parsed);
  }
  if (arguments.trust) settings.trust = std::min(settings.trust, *arguments.trust);
  return settings;
}

void use_hub_settings() {
  static std::once_flag once;
  std::call_once(once, [] {
    const Settings settings = load_settings();
    set_hub_defaults({.cache_dir = settings.cache_folder, .endpoint = settings.endpoint});
  });
}

}  // namespace backplane
