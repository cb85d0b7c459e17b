#pragma once

#include "golden/golden.h"

namespace backplane::golden {

/// Files of preprocessing/tokenizers: classes/*/cases.json and real_classes/*.json.
bool is_tokenizer_class_fixture(const std::filesystem::path& file);
GoldenResult run_tokenizer_class_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
