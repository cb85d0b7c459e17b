#include "backplane/registry/manifest.h"

#include <catch2/catch.hpp>
#include <random>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

const std::string kValid =
    R"({"format":1,"id":"org.example.toy","version":"1.2.0","license":"MIT OR Apache-2.0","source":"abc-dirty",)"
    R"("fingerprint":"format=1\ntorch=2.13\n","configs":[{"model_type":"toy","class":"ToyConfig"}],)"
    R"("models":[{"auto_class":"AutoModel","model_type":"toy","class":"ToyModel","config_class":"ToyConfig"}],)"
    R"("preprocessors":[{"auto_class":"AutoTokenizer","model_type":"toy","fast":"BertTokenizerFast"}],)"
    R"("ggufs":[{"architecture":"toyish","model_type":"toy"}]})";

std::string refusal(const std::string& json) {
  try {
    parse_manifest(json, "lib.so");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_plugin);
    return error.what();
  }
  return "";
}

std::string with(std::string from, const std::string& to) {
  std::string json = kValid;
  const size_t at = json.find(from);
  REQUIRE(at != std::string::npos);
  return json.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a manifest reads back as it was written") {
  const Manifest manifest = parse_manifest(kValid, "lib.so");
  CHECK(manifest.id == "org.example.toy");
  CHECK(manifest.license == "MIT OR Apache-2.0");
  CHECK(manifest.models.at(0).config_class == "ToyConfig");
  CHECK(manifest.preprocessors.at(0).slow == "");
  CHECK(manifest.preprocessors.at(0).fast == "BertTokenizerFast");
  CHECK(manifest.ggufs.at(0).architecture == "toyish");
  CHECK(manifest.model_types() == std::vector<std::string>{"toy"});
  CHECK(to_json(manifest) == kValid);
  CHECK(parse_manifest(to_json(manifest), "lib.so").provides_the_same(manifest));
}

TEST_CASE("a malformed manifest is refused with its fault") {
  CHECK(refusal("") == "lib.so: malformed manifest: the note is empty; the build's last step, backplane-manifest, did not run");
  CHECK(refusal(with("\"format\":1", "\"format\":2")) == "lib.so: malformed manifest: format 2, this host reads 1");
  CHECK(refusal(with("\"id\":\"org.example.toy\"", "\"id\":\"\"")) == "lib.so: malformed manifest: 'id' is missing");
  CHECK(refusal(with("org.example.toy", "\\u001b[31m")) ==
        "lib.so: malformed manifest: 'id' has other characters than letters, digits, '.', '_', '-' and '+'");
  CHECK(refusal(with("MIT OR", "\\u0007")) == "lib.so: malformed manifest: 'license' has characters that cannot be printed");
  CHECK(refusal(with("\"class\":\"ToyConfig\"", "\"class\":3")) == "lib.so: malformed manifest: 'class' is no text");
  CHECK(refusal(with("[{\"model_type\":\"toy\",\"class\":\"ToyConfig\"}]", "{}")) ==
        "lib.so: malformed manifest: 'configs' is no list");
  CHECK(refusal("[1]") == "lib.so: malformed manifest: an object with 'format' is expected");
  CHECK_FALSE(refusal("{\"format\":1").empty());
}

TEST_CASE("any bytes in place of a manifest give a manifest or a typed error") {
  std::mt19937 random(7);
  size_t refused = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string json = kValid;
    for (int change = 0; change < 1 + i % 4; ++change) json[random() % json.size()] = static_cast<char>(random());
    try {
      parse_manifest(json, "lib.so");
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > 1000);
}
