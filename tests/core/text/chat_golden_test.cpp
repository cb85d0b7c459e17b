#include <catch2/catch.hpp>

#include "golden/chat_templates.h"

using namespace backplane::golden;

TEST_CASE("chat templates render as the reference renders them") {
  const char* fixtures = std::getenv("BACKPLANE_FIXTURES");
  if (!fixtures) {
    WARN("BACKPLANE_FIXTURES is not set");
    return;
  }
  size_t cases = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::filesystem::path(fixtures) /
                                                                         "preprocessing" / "chat_templates")) {
    if (!is_chat_template_fixture(entry.path())) continue;
    const GoldenResult result = run_chat_template_fixture(entry.path(), {});
    cases += result.cases;
    INFO(result.kind << " " << result.name << ": " << result.failed_cases << " of " << result.cases
                     << " fail, the first: " << result.reason);
    CHECK(result.passed);
  }
  CHECK(cases > 0);
}
