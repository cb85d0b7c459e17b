#include <catch2/catch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

struct Outcome {
  int code = -1;
  std::vector<Json> lines;
};

// Runs build/bin/backplane with the arguments and --json.
Outcome backplane(const std::vector<std::string>& arguments) {
  std::string command = "HF_HUB_OFFLINE=1 " BACKPLANE_BINARY_DIR "/bin/backplane";
  for (const auto& argument : arguments) {
    command += " '";
    for (const char c : argument) command += c == '\'' ? std::string("'\\''") : std::string(1, c);
    command += "'";
  }
  command += " --json";
  std::string output;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 65536> buffer;
  for (size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    output.append(buffer.data(), count);
  const int status = ::pclose(pipe);
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) outcome.lines.push_back(Json::parse(line));
  return outcome;
}

Json data(const std::string& name) {
  std::ifstream file(BACKPLANE_SOURCE_DIR "/tests/product/data/" + name);
  return Json::parse(file);
}

// Where tools/fetch_demo_models.sh put it, or "" with a message.
std::string model(const std::string& name) {
  const std::string path = BACKPLANE_SOURCE_DIR "/.models/" + name;
  if (fs::exists(path)) return path;
  std::cout << "skipped: " << path << " is not there; tools/fetch_demo_models.sh fetches it\n";
  return "";
}

}  // namespace

TEST_CASE("embed gives what transformers gives on all-MiniLM-L6-v2") {
  const auto folder = model("all-MiniLM-L6-v2");
  if (folder.empty()) return;
  const auto cases = data("minilm.json");
  const auto file = fs::temp_directory_path() / ("backplane-texts-" + std::to_string(::getpid()));
  {
    std::ofstream lines(file);
    for (const auto& entry : cases) lines << entry["text"].get<std::string>() << "\n";
  }
  const auto outcome = backplane({"embed", folder, "--file", file.string()});
  fs::remove(file);
  REQUIRE(outcome.code == 0);
  REQUIRE(outcome.lines.size() == cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(cases[i]["text"]);
    CHECK(outcome.lines[i]["ids"] == cases[i]["ids"]);
    const auto expected = cases[i]["embedding"].get<std::vector<double>>();
    const auto found = outcome.lines[i]["embedding"].get<std::vector<double>>();
    REQUIRE(found.size() == expected.size());
    double worst = 0;
    for (size_t k = 0; k < expected.size(); ++k) worst = std::max(worst, std::abs(found[k] - expected[k]));
    CHECK(worst < 1e-5);
  }
}

TEST_CASE("run --greedy gives transformers' tokens on SmolLM2") {
  const auto file = model("SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
  if (file.empty()) return;
  for (const auto& entry : data("smollm2.json")) {
    CAPTURE(entry["prompt"]);
    const auto outcome =
        backplane({"run", file, entry["prompt"], "--greedy", "--max-new-tokens", "64", "--dtype", "float32"});
    REQUIRE(outcome.code == 0);
    REQUIRE(outcome.lines.size() == 1);
    CHECK(outcome.lines[0]["prompt_ids"] == entry["prompt_ids"]);
    CHECK(outcome.lines[0]["ids"] == entry["ids"]);
  }
}

TEST_CASE("a failure is one JSON object and exit code 1, wrong usage is 2") {
  const auto missing = backplane({"inspect", "/nonexistent/model"});
  CHECK(missing.code == 1);
  REQUIRE(missing.lines.size() == 1);
  CHECK(missing.lines[0]["error"]["message"].get<std::string>().find("/nonexistent/model") != std::string::npos);
  CHECK(missing.lines[0]["error"]["code"].is_string());
  const auto usage = backplane({"frobnicate"});
  CHECK(usage.code == 2);
  REQUIRE(usage.lines.size() == 1);
  CHECK(usage.lines[0]["error"]["code"] == "usage");
}
