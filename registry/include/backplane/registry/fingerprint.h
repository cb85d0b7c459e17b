#pragma once

#include <string>
#include <string_view>

namespace backplane {

/// The fingerprint of this build of Backplane, as "key=value" lines (see build_fingerprint.h).
std::string_view host_fingerprint();

/// Why a plugin with fingerprint `plugin` must not be loaded into a host with `host`, field by field
/// ("plugin: torch 2.12, host: torch 2.13"); empty where it may. A plugin without libtorch fits any libtorch.
std::string fingerprint_difference(std::string_view plugin, std::string_view host);

/// True for the fingerprint of a plugin that uses libtorch.
bool uses_torch(std::string_view fingerprint);

}  // namespace backplane
