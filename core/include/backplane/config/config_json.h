#pragma once

#include <string>

#include "backplane/base/json.h"
#include "backplane/config/pretrained_config.h"

// The JSON life of configurations; apart from pretrained_config.h so that plugins need not see json.hpp.
namespace backplane {

Json to_json(const Value& value);
Value to_value(const Json& value);

/// Reads `json` (the object of a config.json) over the defaults in `config`, then validates. `name` is the file for
/// messages. Throws `bad_config` with file, key, found and expected (AC-12 to AC-20).
void read_config(PretrainedConfig& config, const Json& json, const std::string& name);

/// Every attribute under its key, defaults included, in the reference's order (to_dict).
Json write_config(const PretrainedConfig& config);

/// Sets attributes by keyword as from_pretrained does (AC-12): returns those that nothing took.
Json override_config(PretrainedConfig& config, const Json& overrides);

}  // namespace backplane
