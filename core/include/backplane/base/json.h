#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "backplane/base/error.h"
#include "backplane/base/limits.h"

// Not included by <backplane/model.h>: json.hpp costs a second in every file that sees it.
namespace backplane {

/// Keeps the order of keys, as Python's dictionaries do.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  uint64_t bytes = limits::kConfigBytes;
  int depth = limits::kJsonDepth;
};

/// Parses `text` as Python's json module does: `NaN`, `Infinity` and `-Infinity` are numbers, the last of doubled keys
/// wins, no byte-order mark, valid UTF-8 only. `name` is the file for the message. Throws `error_code`, or
/// `limit_exceeded` for text that is too long or too deep.
Json parse_json(std::string_view text, const std::string& name, ErrorCode error_code = ErrorCode::bad_config,
                JsonLimits limits = {});

/// Reads and parses a file.
Json read_json_file(const std::string& path, ErrorCode error_code = ErrorCode::bad_config, JsonLimits limits = {});

/// As Python's `json.dumps(value, indent=indent)`: floats as repr prints them, `NaN` and `Infinity` bare, non-ASCII
/// escaped as \uXXXX when `ensure_ascii`. indent < 0: one line with ", " and ": ".
std::string python_dumps(const Json& value, int indent = -1, bool ensure_ascii = true, bool sort_keys = false);

/// The shortest text that reads back as `value`, as Python's repr writes it ("1e-05", "0.1", "inf").
std::string python_float(double value);

}  // namespace backplane
