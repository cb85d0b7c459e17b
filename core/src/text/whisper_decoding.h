#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backplane/text/tokenizer.h"

namespace backplane::text {

// Whisper's ids after the prompt of earlier text, if there is one.
std::vector<int64_t> strip_prompt(const Tokenizer& tokenizer, const std::vector<int64_t>& ids);
std::string without_timestamps(const std::string& text);

}  // namespace backplane::text
