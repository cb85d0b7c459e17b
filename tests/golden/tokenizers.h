#pragma once

#include "golden/golden.h"

namespace backplane::golden {

/// Files of preprocessing/tokenizers: components/*.json, pipelines/*/cases.json and real/*.json.
bool is_tokenizer_fixture(const std::filesystem::path& file);
GoldenResult run_tokenizer_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
