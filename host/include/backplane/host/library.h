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

/// What a library registers, with its id, version and licence from its descriptor: what the manifest is made from.
struct InspectedPlugin {
  Manifest manifest;
  Registration registration;
};
InspectedPlugin inspect_plugin(const std::string& path);

/// Asks the entry for its descriptor as a host of another ABI would.
void call_entry_as_stranger(const std::string& path);

/// Opens libbackplane-tensor, and libtorch with it, from beside this library; false where there is none.
bool open_tensor_runtime();

/// How many plugin libraries this process has opened.
size_t opened_plugins();

}  // namespace backplane
