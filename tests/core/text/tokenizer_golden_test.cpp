#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>

#include "golden/tokenizers.h"

namespace fs = std::filesystem;
using namespace backplane::golden;

TEST_CASE("tokenizers answer as the reference does") {
  const char* root = std::getenv("BACKPLANE_FIXTURES");
  if (!root) {
    std::cerr << "skipped: BACKPLANE_FIXTURES is not set\n";
    return;
  }
  const char* cache = std::getenv("BACKPLANE_TOKENIZER_CACHE");
  const char* only = std::getenv("BACKPLANE_ONLY");
  const GoldenOptions options{.cache = cache ? cache : ""};
  size_t cases = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(root) / "preprocessing" / "tokenizers")) {
    if (!is_tokenizer_fixture(entry.path()) || (only && entry.path().string().find(only) == std::string::npos)) continue;
    const GoldenResult result = run_tokenizer_fixture(entry.path(), options);
    cases += result.cases;
    INFO(result.kind << " " << result.name << ": " << result.failed_cases << " of " << result.cases << " differ; " << result.reason);
    CHECK(result.passed);
  }
  std::cerr << cases << " answers compared\n";
}
