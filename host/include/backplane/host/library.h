#pragma once

#include <string>

#include "backplane/registry/manifest.h"
#include "backplane/registry/registry.h"

namespace backplane {

/// Opens a plugin's library, never to close it, checks its descriptor and returns what it registers. The entries' provider
/// is left to the caller. One call at a time in a process. [load-time only]
///
/// Throws `bad_plugin` (cannot be opened, no entry, another id than the manifest's, breaks the contract),
/// `incompatible_plugin` (another ABI number or fingerprint; checked once more, after the manifest) or `plugin_failed` (its
/// own code threw). Each message names `path`.
Registration open_plugin(const std::string& path, const Manifest& manifest);

/// What a fresh library registers, with its id, version and licence from its descriptor: the build's last step.
Manifest inspect_plugin(const std::string& path);

/// How many plugin libraries this process has opened.
size_t opened_plugins();

}  // namespace backplane
