#include "backplane/base/progress.h"

#include <catch2/catch.hpp>
#include <cstdio>

using namespace backplane;

TEST_CASE("sizes and times read as people write them") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(999) == "999 B");
  CHECK(format_bytes(1536) == "1.5 kB");
  CHECK(format_bytes(538e6) == "538 MB");
  CHECK(format_bytes(999.9e6) == "1.0 GB");
  CHECK(format_seconds(75.2) == "1:15");
  CHECK(format_seconds(3700) == "1:01:40");
  CHECK(format_seconds(-3) == "0:00");
}

TEST_CASE("a bar shows share, rate and time left, and the sum stands below") {
  ProgressBars bars;
  bars.expect(3);
  const size_t first = bars.add("model.safetensors", 1000, 500);
  const size_t second = bars.add("a\x1b[2Jb", 200);
  bars.advance(first, 100);
  bars.advance(second, 200);
  auto lines = bars.lines(120, 10);
  REQUIRE(lines.size() == 3);
  // 100 bytes in 10 s; what was there before the start is no speed
  CHECK(lines[0].find("model.safetensors") == 0);
  CHECK(lines[0].find(" 60% [########################................] 600 B/1.0 kB 10 B/s 0:40 left") !=
        std::string::npos);
  CHECK(lines[1].find("a?[2Jb") == 0);
  CHECK(lines[2].find("0/3 files") == 0);
  CHECK(lines[2].find("800 B/1.2 kB 30 B/s 0:13 left") != std::string::npos);

  bars.finish(second);
  bars.advance(first, -600);
  lines = bars.lines(60, 10);
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].find("  0%") != std::string::npos);
  CHECK(lines[1].find("1/3 files") == 0);
  for (const auto& line : lines) CHECK(line.size() <= 60);
}

TEST_CASE("what is no terminal gets no bars") {
  std::FILE* file = std::tmpfile();
  {
    ProgressBars bars(file);
    bars.advance(bars.add("f", 10), 10);
  }
  CHECK(std::ftell(file) == 0);
  std::fclose(file);
}
