#pragma once

#include <string>

#include "backplane/base/json.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// How the GGUF file at `path` becomes a model: the mapping of its general.architecture, whose plugin is loaded if need be.
/// Throws `unknown_model_type` or `plugin_not_installed` naming the architecture, `bad_checkpoint` for a malformed file.
GgufEntry gguf_entry(const std::string& path);

/// The object of config.json that the file's metadata stand for (AC-11). Throws as gguf_entry.
Json gguf_config_json(const std::string& path);

}  // namespace backplane
