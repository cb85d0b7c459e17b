#pragma once

#include <string>
#include <vector>

#include "backplane/base/json.h"
#include "golden/golden.h"

namespace backplane::golden {

/// One compared answer of a fixture.
struct Verdict {
  std::string name;
  bool passed = false;
  std::string reason;  ///< what differs, empty where it passed
};

/// Judges chat_templates/own/NAME.json and real/NAME.json; `conversations` is chat_templates/conversations.json.
std::vector<Verdict> judge_chat_template(const Json& fixture, const Json& conversations);

/// Judges chat_templates/jinja.json.
std::vector<Verdict> judge_jinja(const Json& fixture);

/// The files of chat_templates/ that need no tokenizer.
bool is_chat_template_fixture(const std::filesystem::path& file);
GoldenResult run_chat_template_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
