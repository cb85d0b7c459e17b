#include <unistd.h>
#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "fake_hub.h"

namespace fs = std::filesystem;

TEST_CASE("endpoint and cache of backplane.yaml serve every verb with a model, not only download") {
  backplane::FakeHub hub;
  const std::string commit = hub.commit(
      "org/tiny", {{"config.json", {.bytes = R"({"model_type": "bert", "architectures": ["BertForMaskedLM"]})"}}});
  const fs::path folder = fs::temp_directory_path() / ("backplane-hub-settings-" + std::to_string(::getpid()));
  fs::create_directories(folder / "home");
  std::ofstream(folder / "backplane.yaml")
      << "endpoint: " << hub.endpoint() << "\ncache: " << (folder / "cache").string() << "\n";
  const std::string command =
      "cd " + folder.string() +
      " && env -u HF_ENDPOINT -u HF_HUB_CACHE -u HF_HUB_OFFLINE -u TRANSFORMERS_OFFLINE "
      "-u HF_HOME -u http_proxy -u all_proxy -u ALL_PROXY -u XDG_CACHE_HOME -u XDG_CONFIG_HOME HOME=" +
      (folder / "home").string() + " " BACKPLANE_BINARY_DIR "/bin/backplane inspect org/tiny --json";
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 1 << 16> buffer;
  while (const size_t got = ::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), got);
  CHECK(::pclose(pipe) == 0);
  const auto answer = nlohmann::json::parse(output);
  CHECK(answer["commit_hash"] == commit);
  CHECK(answer["classes"]["AutoModelForMaskedLM"] == "BertForMaskedLM");
  CHECK(fs::exists(folder / "cache" / "models--org--tiny" / "snapshots" / commit / "config.json"));
  CHECK(fs::is_empty(folder / "home"));
  fs::remove_all(folder);
}
