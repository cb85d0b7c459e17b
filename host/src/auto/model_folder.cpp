#include "auto/model_folder.h"

#include <unistd.h>

#include <algorithm>
#include <boost/filesystem.hpp>
#include <charconv>

#include "backplane/base/files.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/base/version.h"
#include "backplane/config/config_json.h"
#include "backplane/host/gguf.h"

namespace backplane {
namespace {

// "4.53.3", "4.54.0.dev0", "5.0rc1" -> numbers, and whether the release itself is still to come.
struct Version {
  std::vector<int> numbers;
  bool before_release = false;

  friend bool operator<=(const Version& a, const Version& b) {
    auto x = a.numbers, y = b.numbers;
    const size_t size = std::max(x.size(), y.size());
    x.resize(size);
    y.resize(size);
    if (x != y) return x < y;
    return a.before_release || !b.before_release;
  }
};

std::optional<Version> parse_version(std::string_view text) {
  Version version;
  for (const auto& part : split(text, '.')) {
    int number = 0;
    const char* const begin = part.data();
    const auto [end, error] = std::from_chars(begin, begin + part.size(), number);
    if (error == std::errc()) version.numbers.push_back(number);
    if (end == begin + part.size()) continue;
    const std::string_view rest(end, static_cast<size_t>(begin + part.size() - end));
    if (version.numbers.empty()) return std::nullopt;
    version.before_release = rest.starts_with("dev") || rest.starts_with("rc") || rest.starts_with("a") || rest.starts_with("b");
    if (!version.before_release) return std::nullopt;
    break;
  }
  return version.numbers.empty() ? std::nullopt : std::optional(version);
}

}  // namespace

ModelFolder::ModelFolder(std::string name_or_path, const PretrainedOptions& options) : name_(std::move(name_or_path)), gguf_file_(options.gguf_file) {
  if (folder_exists(name_)) {
    gguf_file_ = split_gguf_path(name_, options).second.gguf_file;
  } else {
    const std::string below = options.subfolder.empty() ? name_ : options.subfolder + "/" + name_;
    if (file_exists(below)) {
      if (below.ends_with(".gguf")) {  // the folder around it, so that weights and vocabulary are found
        const boost::filesystem::path path(below);
        gguf_file_ = path.filename().string();
        HubOptions hub = options.hub();
        hub.subfolder.clear();
        files_.emplace(path.has_parent_path() ? path.parent_path().string() : ".", hub);
      } else {
        single_file_ = below;
      }
      return;
    }
    if (is_url(name_) && name_.ends_with(".json")) {
      warn(concat("reading a configuration from a URL is deprecated; use the repository's id: ", name_));
      single_file_ = download_url(name_, options.hub());
      return;
    }
  }
  files_.emplace(name_, options.hub());
}

std::string ModelFolder::shown() const { return folder_exists(name_) ? boost::filesystem::absolute(name_).lexically_normal().string() : name_; }

std::optional<std::string> ModelFolder::commit_hash() const { return files_ ? files_->commit_hash() : std::nullopt; }

ModelFiles& ModelFolder::files() {
  if (!files_) throw Error(ErrorCode::not_found, concat("'", name_, "' is a file; expected a model folder or the id of a repository"));
  return *files_;
}

std::optional<std::string> ModelFolder::find(const std::string& file) { return files_ ? files_->find(file) : std::nullopt; }

Json ModelFolder::read(const std::string& path) const {
  Json json = read_json_file(path);
  if (!json.is_object()) throw Error(ErrorCode::bad_config, concat("'", path, "' holds ", to_value(json).to_string(), "; expected an object"));
  return json;
}

std::optional<Json> ModelFolder::json(const std::string& file, bool soft) {
  if (!files_) return std::nullopt;
  const auto path = soft ? files_->find_optional(file) : files_->find(file);
  return path ? std::optional(read(*path)) : std::nullopt;
}

Json ModelFolder::config() {
  if (gguf_file_) return gguf_config_json(files().get(*gguf_file_));
  Json config = Json::object();
  if (!single_file_.empty()) {
    config = read(single_file_);
  } else if (auto found = json("config.json")) {
    config = std::move(*found);
    if (const auto versions = config.find("configuration_files"); versions != config.end()) {
      const std::string file = versioned_file(*versions, "config", "config.json");
      if (file != "config.json") {
        auto other = json(file);
        if (!other) throw Error(ErrorCode::file_not_found, concat("config.json of '", shown(), "' names '", file, "', which is not there"));
        config = std::move(*other);
      }
    }
  }
  if (!config.contains("model_type") && is_timm_config(config)) config["model_type"] = "timm_wrapper";
  return config;
}

bool is_timm_config(const Json& json) { return json.contains("pretrained_cfg"); }

std::optional<std::string> text_member(const Json& json, const std::string& key, const std::string& file) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return std::nullopt;
  if (!found->is_string()) {
    throw Error(ErrorCode::bad_config, concat(file, ": ", key, " is ", to_value(*found).to_string(), "; expected a text"));
  }
  return found->get<std::string>();
}

std::string versioned_file(const Json& names, const std::string& stem, const std::string& plain) {
  if (!names.is_array()) throw Error(ErrorCode::bad_config, concat(stem, ": the list of versioned files is ", to_value(names).to_string(), "; expected a list"));
  std::vector<std::pair<std::string, std::string>> versions;
  for (const auto& item : names) {
    if (!item.is_string()) continue;
    const auto name = item.get<std::string>();
    if (!name.starts_with(stem + ".") || !name.ends_with(".json") || name == plain || name.size() < stem.size() + 7) continue;
    if (!is_plain_file_name(name)) throw Error(ErrorCode::bad_file_name, concat("'", name, "' is no plain file name"));
    versions.emplace_back(name.substr(stem.size() + 1, name.size() - stem.size() - 6), name);
  }
  std::sort(versions.begin(), versions.end());
  const Version ours = *parse_version(kReferenceVersion);
  std::string best = plain;
  for (const auto& [text, name] : versions) {
    const auto version = parse_version(text);
    if (!version) throw Error(ErrorCode::bad_config, concat("'", name, "' has no version in its name"));
    if (!(*version <= ours)) break;
    best = name;
  }
  return best;
}

}  // namespace backplane
