#include "hub_fixture.h"

#define LLVMFuzzerTestOneInput fuzz_hub
#include "../../../fuzz/hub_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

using namespace backplane;

namespace {

std::string mutated(std::string text, std::minstd_rand& random) {
  const std::string alphabet(
      "/.\\%:@?#\"'-_ W{}[],\0\n\x80\xff"
      "0a",
      25);
  for (size_t edits = 1 + random() % 5; edits > 0 && !text.empty(); --edits) {
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0:
        text[at] = alphabet[random() % alphabet.size()];
        break;
      case 1:
        text.erase(at, 1 + random() % 4);
        break;
      case 2:
        text.insert(at, 1 + random() % 3, alphabet[random() % alphabet.size()]);
        break;
      default:
        text.insert(at, text.substr(random() % text.size(), random() % 20));
        break;
    }
  }
  return text;
}

}  // namespace

TEST_CASE("names and addresses from a hub, mutated") {
  const std::vector<std::string> seeds = {"W/\"0187f3b09d66cef7911083ad49f890f5a6589589\"",
                                          "\"../x\"",
                                          "org/name",
                                          "sub/deep/model.safetensors",
                                          "https://user:pw@cdn.example:8443/a/../b?x=1#y",
                                          "//other.example/%2e%2e/x",
                                          "/api/resolve-cache/models/org/name",
                                          "https://hub.example/org/name/tree/refs%2Fpr%2F1/sub",
                                          "https://hub.example/org/name/resolve/main/f",
                                          "file:///etc/passwd"};
  std::minstd_rand random(3);
  for (int round = 0; round < 20'000; ++round) {
    const std::string text = mutated(seeds[random() % seeds.size()], random);
    fuzz_hub(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
}

TEST_CASE_METHOD(HubFixture, "listings, mutated") {
  const std::string commit = hub.commit("org/name", {{"a", {"1"}}, {"sub/b", {"2"}}});
  std::minstd_rand random(4);
  hub.set_fault([&](const FakeHub::Request& request, FakeHub::Response& response) {
    if (request.target.starts_with("/api/")) response.body = mutated(response.body, random);
  });
  int whole = 0;
  for (int round = 0; round < 500; ++round) {
    const auto [code, text] = error_of([&] { whole += ModelFiles("org/name").list().size() > 0; });
    CHECK((code == "no error" || code == "network" || code == "bad_file_name" || code == "limit_exceeded"));
  }
  CHECK(whole > 0);
  CHECK(!fs::exists(cache));
}
