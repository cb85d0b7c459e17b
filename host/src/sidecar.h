#pragma once

#include <cstdint>
#include <string>

namespace backplane {

/// What a person edits about a plugin: `<library without .so>.yaml` beside it.
struct Sidecar {
  int64_t priority = 0;
  bool disabled = false;
};

/// Throws `bad_settings` with file, line and key.
Sidecar read_sidecar(const std::string& path);

}  // namespace backplane
