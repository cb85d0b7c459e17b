#pragma once

#include <string>
#include <utility>

#include "backplane/base/json.h"
#include "backplane/formats/gguf.h"
#include "backplane/host/pretrained_options.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// Metadata and directory of the file at `path`. Throws `file_not_found`, `bad_checkpoint`.
GgufFile read_gguf_file(const std::string& path);

/// How the GGUF file at `path` becomes a model: the mapping of its general.architecture, whose plugin is loaded if need
/// be. Throws `unknown_model_type` or `plugin_not_installed` naming the architecture, `bad_checkpoint` for a malformed
/// file.
GgufEntry gguf_entry(const std::string& path);

/// The object of config.json that the file's metadata stand for (AC-11). Throws as gguf_entry.
Json gguf_config_json(const std::string& path);

/// A path of a .gguf file, and a folder that holds one such file and no config.json, is the folder with `gguf_file` set;
/// every other name stays as it is.
std::pair<std::string, PretrainedOptions> split_gguf_path(const std::string& name_or_path,
                                                          const PretrainedOptions& options);

}  // namespace backplane
