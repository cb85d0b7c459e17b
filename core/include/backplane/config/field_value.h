#pragma once

#include <cstdint>
#include <string_view>

#include "backplane/config/pretrained_config.h"

// Fields of configurations whose class the caller does not know: those of the models inside a composite. Thread-safe.
namespace backplane {

/// A field by key or alias, an unknown key of the file among them; null where there is none.
Value field_value(const PretrainedConfig& config, std::string_view key);

/// A field that has to be a whole number. Throws `bad_config` naming key and type where it is none.
int64_t int_field(const PretrainedConfig& config, std::string_view key);

/// Reads the object that `owner` holds under `old_key`, an unknown key to it, over the defaults of `part`, and forgets
/// the key (text_config_dict of old CLIP files, whose values win). Does nothing where it is absent or null.
void take_old_part(PretrainedConfig& owner, std::string_view old_key, PretrainedConfig& part);

/// Reads all that `owner` has beside its parts over the defaults of `part`: old files of models that had no parts yet.
void read_flat_part(const PretrainedConfig& owner, PretrainedConfig& part);

}  // namespace backplane
