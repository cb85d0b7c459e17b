#pragma once

#include <optional>
#include <string>

#include "backplane/base/json.h"
#include "backplane/host/pretrained_options.h"
#include "backplane/hub/hub.h"

namespace backplane {

/// What a call to from_pretrained names: a model folder, a repository, a configuration file of any name, or a URL (AC-03).
class ModelFolder {
 public:
  ModelFolder(std::string name_or_path, const PretrainedOptions& options);

  const std::string& name() const { return name_; }
  /// For messages: a folder's absolute path, else the id (AC-53).
  std::string shown() const;
  std::optional<std::string> commit_hash() const;
  bool is_local() const { return !files_ || files_->is_local(); }

  const std::optional<std::string>& gguf_file() const { return gguf_file_; }

  /// The path of a file; nullopt where there is none.
  std::optional<std::string> find(const std::string& file);
  /// A JSON object of the folder; nullopt where there is no such file. `soft`: also where the hub does not say (AC-77).
  /// Throws `bad_config` for anything that is no object (AC-07, AC-08).
  std::optional<Json> json(const std::string& file, bool soft = false);
  /// The object of config.json, or of the file that stands for it: empty where there is none (AC-06).
  Json config();

  /// Throws `not_found` where the argument is a single file.
  ModelFiles& files();

 private:
  Json read(const std::string& path) const;

  std::string name_;
  std::optional<std::string> gguf_file_;
  std::string single_file_;  // the configuration file itself, where the argument names one
  std::optional<ModelFiles> files_;
};

/// Whether an object of a config.json comes from timm (AC-10).
bool is_timm_config(const Json& json);

/// The member if it is an object's text; nullopt where absent or null. Throws `bad_config` for another kind.
std::optional<std::string> text_member(const Json& json, const std::string& key, const std::string& file);

/// The file of `names` ("<stem>.<version><extension>") with the highest version that is not above the reference's; `plain`
/// where there is none. Versions are ordered as texts and the first that is too new ends the search (AC-09, AC-130).
std::string versioned_file(const Json& names, const std::string& stem, const std::string& plain);

}  // namespace backplane
