#pragma once

#include <optional>
#include <string>

#include "backplane/hub/hub.h"

// What HubOptions leave open, taken from the environment (AC-82, AC-84, AC-85, AC-86).
namespace backplane::hub {

/// A variable's value; nullopt also where it is empty.
std::optional<std::string> environment(const char* name);
/// 1, ON, YES, TRUE in any case.
bool is_true(const std::optional<std::string>& value);

std::string default_cache_dir();
/// Without the "/" at the end.
std::string default_endpoint();
bool offline_by_environment();
/// The bearer token that `choice` means, nullopt for none. Throws `invalid_value` where one is demanded and none is
/// there.
std::optional<std::string> resolve_token(const HubToken& choice);
/// Seconds; HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT, 10 where unset.
long etag_timeout();
long download_timeout();

}  // namespace backplane::hub
