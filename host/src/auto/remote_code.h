#pragma once

#include <optional>
#include <string>

#include "auto/model_folder.h"

namespace backplane {

/// Settles what becomes of an auto_map entry: a repository's own code, in Python, which is never run (AC-50 to AC-62).
/// `reference` is "[repo--]module.Class"; `auto_class` the class it stands for.
/// Where something built-in or registered can serve (`has_local`) it does: silently, or with consent with a warning that
/// names the reference. Else throws `trust_required` without consent; with it `bad_code_reference` or
/// `remote_code_is_python`.
void settle_remote_code(const ModelFolder& folder, const PretrainedOptions& options, const std::string& auto_class,
                        const std::string& reference, bool has_local);

/// What the `auto_map` of a file says about an auto class; nullopt where it is absent, null, or a list (AC-58).
std::optional<std::string> code_reference(const Json& json, const std::string& auto_class, const std::string& file);

}  // namespace backplane
