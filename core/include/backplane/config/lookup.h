#pragma once

#include <optional>
#include <string_view>

#include "backplane/config/pretrained_config.h"

namespace backplane {

/// A key of a configuration whose class is not known, by its name or by another name of it (attribute_map), or among
/// the keys that nobody knows; null where there is none.
Value find_value(const PretrainedConfig& config, std::string_view key);

/// The same, where it is a whole number.
std::optional<int64_t> find_number(const PretrainedConfig& config, std::string_view key);

}  // namespace backplane
