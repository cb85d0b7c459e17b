#pragma once

#include <string>

#include "backplane/registry/registry.h"

namespace backplane {

/// Registration by the host program, as transformers' `register`; the entries' provider is the process. What the reference's
/// table has is protected: `already_registered`, unless `exist_ok`; what the process registered before is replaced (AC-29,
/// AC-31). Thread-safe.
///
/// `written_as` is the class's own model_type, which has to be the entry's (AC-28).
void register_config(ConfigEntry entry, const std::string& written_as, bool exist_ok = false);
/// `entry.config_class` is the model class's own configuration class, `config_class` the one that it is registered for: their
/// names have to be equal (AC-30).
void register_model(ModelEntry entry, const std::string& config_class, bool exist_ok = false);
/// Tokenizers and image processors: slow, fast or both; the other one stays as it was registered (AC-32, AC-33). The other
/// preprocessing classes: slow (AC-34).
void register_preprocessor(PreprocessorEntry entry, bool exist_ok = false);

}  // namespace backplane
