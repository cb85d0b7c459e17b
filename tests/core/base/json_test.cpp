#include "backplane/base/json.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace backplane;

namespace {
ErrorCode code_of(std::string_view text, JsonLimits limits = {}) {
  try {
    parse_json(text, "config.json", ErrorCode::bad_config, limits);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("config.json") != std::string::npos);
    return error.code();
  }
  return ErrorCode::internal;
}
}  // namespace

TEST_CASE("json keeps the order of keys, and the last of doubled keys in the first one's place") {
  const Json value = parse_json(R"({"b":1,"a":2,"b":3})", "x");
  CHECK(python_dumps(value) == R"({"b": 3, "a": 2})");
}

TEST_CASE("json reads the numbers that Python writes") {
  const Json value = parse_json(R"({"a":NaN,"b":[Infinity,-Infinity],"c":"NaN \" Infinity","d":1e-05})", "x");
  CHECK(std::isnan(value["a"].get<double>()));
  CHECK(value["b"][0].get<double>() == HUGE_VAL);
  CHECK(value["b"][1].get<double>() == -HUGE_VAL);
  CHECK(value["c"] == "NaN \" Infinity");
  CHECK(python_dumps(value) == R"({"a": NaN, "b": [Infinity, -Infinity], "c": "NaN \" Infinity", "d": 1e-05})");
}

TEST_CASE("json refuses what is not JSON, with the file's name") {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "\xef\xbb\xbf{}", "\"\xff\"", "{} x", "'a'", "nul"}) {
    CAPTURE(text);
    CHECK(code_of(text) == ErrorCode::bad_config);
  }
  CHECK(code_of(std::string(100'000, '[')) == ErrorCode::limit_exceeded);
  CHECK(code_of("[1, 2, 3]", {.bytes = 4}) == ErrorCode::limit_exceeded);
}

TEST_CASE("json with many keys is read in linear time") {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + std::to_string(i);
  CHECK(parse_json(text + "}", "x").size() == 200'000);
}

TEST_CASE("python_dumps writes what Python's json writes") {
  const Json value = parse_json(R"({"é":"\ud83d\ude00\u007f\u0001","f":[0.1,1.0,1e16,123456789.0,1e22,1.5e-7],"e":{},"l":[]})", "x");
  CHECK(python_dumps(value) ==
        "{\"\\u00e9\": \"\\ud83d\\ude00\x7f\\u0001\", \"f\": [0.1, 1.0, 1e+16, 123456789.0, 1e+22, 1.5e-07], \"e\": {}, \"l\": []}");
  CHECK(python_dumps(value, -1, false).starts_with("{\"é\": \"😀"));
  CHECK(python_dumps(parse_json("[1,{\"a\":[]}]", "x"), 2) == "[\n  1,\n  {\n    \"a\": []\n  }\n]");
}
