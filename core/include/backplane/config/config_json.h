#pragma once

#include <string>
#include <vector>

#include "backplane/base/json.h"
#include "backplane/config/pretrained_config.h"

// The JSON life of configurations; apart from pretrained_config.h so that plugins need not see json.hpp.
namespace backplane {

Json to_json(const Value& value);
Value to_value(const Json& value);

/// Reads `json` (the object of a config.json) over the defaults in `config`, then validates. `name` is the file for
/// messages. Throws `bad_config` with file, key, found and expected (AC-12 to AC-20).
void read_config(PretrainedConfig& config, const Json& json, const std::string& name);

/// Every attribute under its key, defaults included (to_dict). `transformers_version` is the file's.
Json write_config(const PretrainedConfig& config);

/// What save_pretrained writes: the class's own keys, and those of every class that differ from the defaults (to_diff_dict,
/// AC-162).
Json write_config_diff(const PretrainedConfig& config);

/// As the reference's to_json_string: sorted keys, two blanks, a final newline. `diff`: only what save_pretrained writes.
std::string config_to_json_string(const PretrainedConfig& config, bool diff = true);

/// Sets attributes by keyword as from_pretrained does (AC-12, AC-13, AC-15 to AC-19), then validates. Returns those that
/// nothing took, `torch_dtype` always among them. Throws `invalid_value`.
Json override_config(PretrainedConfig& config, const Json& overrides);

/// The keys that `fields` lists, without aliases, `extra` and num_labels.
std::vector<std::string> config_keys(const PretrainedConfig& config);

/// "float16" for "float16" and "half"; empty for what is no dtype's name.
std::string canonical_dtype(std::string_view name);

}  // namespace backplane
