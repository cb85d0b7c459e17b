#pragma once

#include <string>

#include "backplane/base/json.h"
#include "backplane/config/generation_config.h"

namespace backplane {

/// Reads the object of a generation_config.json and validates. `name` is the file for messages. Throws `bad_config` for a
/// value of the wrong kind, `invalid_value` for one that is not possible.
GenerationConfig read_generation_config(const Json& json, const std::string& name);

/// From the old keys of a model's configuration (`_from_model_config` is true then), its decoder's where it has one.
GenerationConfig generation_config_from(const PretrainedConfig& config);

/// Every key (to_dict), and those only that differ from the defaults (to_diff_dict).
Json write_generation_config(const GenerationConfig& config);
Json write_generation_config_diff(const GenerationConfig& config);
/// As the reference's to_json_string.
std::string generation_config_to_json_string(const GenerationConfig& config, bool diff = true);

/// Sets by keyword (AC-116), validates, and returns what nothing took.
Json override_generation_config(GenerationConfig& config, const Json& overrides);

}  // namespace backplane
