#include "backplane/base/strings.h"

#include <catch2/catch.hpp>

using namespace backplane;

TEST_CASE("close matches are what a person mistypes: letters swapped, left out, added, of another case") {
  const std::vector<std::string> names = {"bart", "bert", "barthez", "llama"};
  CHECK(close_matches("brat", names) == std::vector<std::string>{"bart"});
  CHECK(close_matches("BERT", names) == std::vector<std::string>{"bert", "bart"});
  CHECK(close_matches("lama", names) == std::vector<std::string>{"llama"});
  CHECK(close_matches("xyz", names).empty());
}
