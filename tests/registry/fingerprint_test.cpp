#include "backplane/registry/fingerprint.h"

#include <catch2/catch.hpp>

#include "backplane/registry/build_fingerprint.h"

using namespace backplane;

namespace {

std::string with_torch(int minor, const char* flavour = "cpu", size_t module = 408) {
  return std::string(BuildFingerprint({2, minor, flavour, 8, 176, module}).text());
}

}  // namespace

TEST_CASE("the fingerprint of a build is canonical lines") {
  const auto text = with_torch(13);
  CHECK(text.starts_with("format=1\nos=linux\narch="));
  CHECK(text.find("\nsdk_abi=1\nsdk_interface=") != std::string::npos);
  CHECK(text.ends_with("torch=2.13\ntorch_flavour=cpu\nsizeof_tensor=8\nsizeof_tensor_impl=176\nsizeof_module=408\n"));
  CHECK(std::string(BuildFingerprint(kNoTorch).text()).ends_with("torch=none\n"));
}

TEST_CASE("a difference is told field by field, on both sides") {
  CHECK(fingerprint_difference(with_torch(13), with_torch(13)) == "");
  CHECK(fingerprint_difference(with_torch(12), with_torch(13)) == "plugin: torch 2.12; host: torch 2.13");
  CHECK(fingerprint_difference(with_torch(12, "cuda", 400), with_torch(13)) ==
        "plugin: torch 2.12, torch flavour cuda, sizeof(nn::Module) 400; host: torch 2.13, torch flavour cpu, sizeof(nn::Module) 408");
  CHECK(fingerprint_difference("", "format=1\n").find("plugin: fingerprint format unknown") == 0);
}

TEST_CASE("a plugin without libtorch fits a host with any, not the other way round") {
  const std::string none(BuildFingerprint(kNoTorch).text());
  CHECK(fingerprint_difference(none, with_torch(13)) == "");
  CHECK(fingerprint_difference(with_torch(13), none).starts_with("plugin: torch 2.13, "));
  CHECK_FALSE(uses_torch(none));
  CHECK(uses_torch(with_torch(13)));
}

TEST_CASE("another SDK is told apart") {
  std::string other(host_fingerprint());
  const size_t at = other.find("sdk_interface=") + 14;
  other.replace(at, 4, "zzzz");
  CHECK(fingerprint_difference(other, host_fingerprint()).starts_with("plugin: SDK headers zzzz"));
}
