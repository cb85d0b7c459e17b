#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

namespace {

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 1 << 16> buffer;
  while (const size_t got = ::fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), got);
  REQUIRE(::pclose(pipe) == 0);
  return output;
}

std::vector<std::string> parts(const std::string& text, const std::string& separator) {
  std::vector<std::string> found;
  size_t from = 0;
  for (size_t at; (at = text.find(separator, from)) != std::string::npos; from = at + separator.size())
    found.push_back(text.substr(from, at - from));
  found.push_back(text.substr(from));
  return found;
}

}  // namespace

TEST_CASE("every class that docs/supported-models.md lists is served: what is missing only shrinks") {
  std::map<std::string, std::set<std::string>> served;
  std::istringstream lines(output_of(BACKPLANE_BINARY_DIR "/bin/backplane plugins list --known --json"));
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    if (!row["provider"].is_null()) served[row["model_type"]] = row["classes"].get<std::set<std::string>>();
  }
  std::ifstream page(BACKPLANE_SOURCE_DIR "/docs/supported-models.md");
  REQUIRE(page.good());
  size_t listed = 0;
  for (std::string line; std::getline(page, line);) {
    const auto cells = parts(line, " | ");
    if (cells.size() != 8 || !line.starts_with("| ") || cells[0] == "| model type" || cells[0] == "| ---") continue;
    const std::string type = cells[0].substr(2);
    ++listed;
    INFO(type);
    REQUIRE(served.contains(type));
    for (const auto& name : parts(cells[2], ", ")) {
      INFO(name);
      CHECK((name.empty() || served[type].contains(name)));
    }
  }
  CHECK(listed >= 2);
}
