#include "golden/auto.h"

#include <catch2/catch.hpp>
#include <cstdlib>

using namespace backplane;

TEST_CASE("auto fixtures: every case gives the reference's class") {
  const char* fixtures = std::getenv("BACKPLANE_FIXTURES");
  if (!fixtures) {
    WARN("BACKPLANE_FIXTURES is unset: skipped");
    return;
  }
  size_t cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(fixtures) + "/preprocessing/auto")) {
    REQUIRE(golden::is_auto_fixture(entry.path()));
    for (const auto& verdict : golden::judge_auto(read_json_file(entry.path().string()))) {
      ++cases;
      INFO(entry.path().filename().string() << " " << verdict.name << ": " << verdict.reason);
      CHECK(verdict.passed);
    }
  }
  CHECK(cases > 1000);
}
