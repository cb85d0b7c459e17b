#pragma once

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/auto_config.h"
#include "backplane/host/inspect.h"
#include "backplane/host/resolve.h"
#include "backplane/host/resolve_preprocessor.h"
#include "backplane/registry/plugin_source.h"

// Model folders made of a few JSON texts, and what the auto classes say of them.
namespace auto_test {

using namespace backplane;

/// What this machine has installed plays no part.
inline const bool kNoPlugins = (set_plugin_source(nullptr), true);

/// Name and text of each file.
using Files = std::vector<std::pair<std::string, std::string>>;

/// Its path holds no name of a model type but for `last`.
class Folder {
 public:
  explicit Folder(const Files& files, const std::string& last = "") {
    static int count = 0;
    root_ = std::filesystem::temp_directory_path() / concat("1-", ::getpid(), "-", count++);
    path_ = last.empty() ? root_ : root_ / last;
    std::filesystem::create_directories(path_);
    for (const auto& [name, text] : files) write(name, text);
  }
  ~Folder() { std::filesystem::remove_all(root_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path root_, path_;
};

/// An object of `inspect --json`, with shorthands.
struct Answer {
  Json json;
  std::vector<std::string> warnings;

  std::string text(const std::string& key) const { return json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : ""; }
  std::string code() const { return json.contains("error") ? json["error"]["code"].get<std::string>() : ""; }
  std::string message() const { return json.contains("error") ? json["error"]["message"].get<std::string>() : ""; }
  /// The class, or the error's code.
  std::string found() const { return code().empty() ? text("class") : code(); }
  bool says(const std::string& words) const { return message().find(words) != std::string::npos; }
  bool warns(const std::string& words) const {
    return std::any_of(warnings.begin(), warnings.end(), [&](const auto& one) { return one.find(words) != std::string::npos; });
  }
};

inline Answer ask(const std::string& auto_name, const std::string& model, const std::string& settings = "{}") {
  InspectRequest request;
  request.model = model;
  if (!auto_name.empty()) request.auto_name = auto_name;
  const Json json = parse_json(settings, "settings");
  for (auto it = json.begin(); it != json.end(); ++it) set_option(request.options, it.key(), to_value(it.value()));
  WarningCollector collector;
  Answer answer{to_json(Value(inspect(request))), {}};
  answer.warnings = collector.messages();
  return answer;
}

inline Answer ask(const std::string& auto_name, const Folder& folder, const std::string& settings = "{}") { return ask(auto_name, folder.path(), settings); }

/// A registered type of this process: name, its keys and their use.
struct MineConfig : PretrainedConfig {
  static constexpr const char* model_type = "mine";
  int64_t width = 8;
  std::string act = "gelu";
  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(width));
    field(BACKPLANE_FIELD(act));
    field.alias("hidden_size", "width");
  }
};

/// Registers MineConfig, once; a model class of its own under AutoModel.
inline void install() {
  static const bool done = [] {
    AutoConfig::register_<MineConfig>();
    register_model({"AutoModel", "mine", "MineModel", "MineConfig", [](const PretrainedConfig&) { return std::shared_ptr<PreTrainedModel>(); }, nullptr},
                   "MineConfig");
    return true;
  }();
  (void)done;
}

}  // namespace auto_test
