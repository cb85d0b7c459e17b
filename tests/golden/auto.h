#pragma once

#include <filesystem>

#include "backplane/base/json.h"
#include "golden/chat_templates.h"

namespace backplane::golden {

/// Judges auto/AutoX.json: which class an auto class takes for each small folder. Where the reference itself broke (an
/// exception that says nothing about the folder), a class is as good as an error: docs/differences.md has those rules.
std::vector<Verdict> judge_auto(const Json& fixture);

/// The files of auto/.
bool is_auto_fixture(const std::filesystem::path& file);
GoldenResult run_auto_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
