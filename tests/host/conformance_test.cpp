#include "backplane/host/conformance.h"

#include <catch2/catch.hpp>

#include "backplane/registry/elf_note.h"
#include "host/toys.h"

using namespace backplane;
using namespace backplane::test;

namespace {

std::map<std::string, std::string> checked(const std::string& path) {
  std::map<std::string, std::string> results;
  for (const auto& result : check_plugin(path)) {
    results[result.name] = std::string(to_string(result.status)) + (result.detail.empty() ? "" : ": " + result.detail);
  }
  return results;
}

}  // namespace

TEST_CASE("a plugin made by the SDK passes every check") {
  const Folder folder;
  const auto results = check_plugin(folder.copy("toy", "toy.so"));
  CHECK(results.size() == 17);
  for (const auto& result : results) {
    INFO(result.name << ": " << result.detail);
    CHECK(result.status == CheckStatus::pass);
  }
}

TEST_CASE("an evil plugin fails the checks that open it, each in a process of its own") {
  const Folder folder;
  const auto path = folder.copy("toy_evil", "evil.so");
  ::setenv("BACKPLANE_EVIL", "crash", 1);
  auto results = checked(path);
  CHECK(results["registers what the manifest says"] ==
        "fail: crashed when it was probed: Segmentation fault (signal 11)");
  CHECK(results["survives a host of another ABI"] ==
        "fail: crashed when it was probed: Segmentation fault (signal 11)");
  CHECK(results["undefined symbols"] == "pass");
}

TEST_CASE("what a lint finds is told, and a plugin that fails it is not opened") {
  const Folder folder;
  const auto path = folder.copy("toy", "toy.so");
  std::string bytes = read_bytes(path);
  const std::string wanted = "_ZTVN9backplane16PretrainedConfigE";  // the base's table, which core exports
  const size_t at = bytes.find(wanted);
  REQUIRE(at != std::string::npos);
  bytes.replace(at + 15, 2, "99");
  folder.write("plugins/toy.so", bytes.replace(bytes.find("$ORIGIN/../lib"), 14, "/tmp/dangerous"));
  auto results = checked(path);
  CHECK(results["search paths"] == "fail: libraries would be looked for in /tmp/dangerous");
  CHECK(results["undefined symbols"].starts_with("fail: this host's libraries lack "));
  CHECK(results["registers twice the same"] == "skip: not opened: it failed before");
}

TEST_CASE("any damage to a library is refused or harmless to the lint") {
  const Folder folder;
  const auto good = read_bytes(folder.copy("toy", "toy.so"));
  uint32_t seed = 3;
  const auto random = [&] { return seed = seed * 1664525u + 1013904223u; };
  size_t refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = good;
    const size_t from =
        i % 2 == 0 ? 0 : bytes.size() - 0xa00;  // the headers at the start, those of sections at the end
    for (int change = 0; change < 4; ++change)
      bytes[from + (random() >> 8) % 0x400] = static_cast<char>(random() >> 24);
    const auto path = folder.write("plugins/damaged.so", bytes);
    refused += !error_of([&] { missing_symbols(path); }).empty();
  }
  CHECK(refused > 20);
}
