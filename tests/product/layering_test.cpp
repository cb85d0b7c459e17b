#include <catch2/catch.hpp>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = BACKPLANE_SOURCE_DIR;

// Who may include whose headers; a layer's own are always allowed.
const std::map<std::string, std::set<std::string>> kMayUse = {
    {"core", {}},
    {"registry", {"core"}},
    {"sdk", {"core", "registry"}},
    {"host", {"core", "registry", "sdk"}},
    {"plugins", {"core", "registry", "sdk"}},
};
const std::set<std::string> kTensorFree = {"base", "config", "formats", "hub", "text"};

std::vector<fs::path> sources(const fs::path& folder) {
  std::vector<fs::path> result;
  if (!fs::exists(folder)) return result;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".h" || entry.path().extension() == ".cpp") result.push_back(entry.path());
  }
  return result;
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> includes(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("#include ", 0) != 0) continue;
    const auto begin = line.find_first_of("<\"", 9);
    const auto end = line.find_first_of(">\"", begin + 1);
    if (end != std::string::npos) result.push_back(line.substr(begin + 1, end - begin - 1));
  }
  return result;
}

std::string without_comments(const std::string& text) {
  std::string result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) result += line.substr(0, line.find("//")) + "\n";
  return result;
}

bool has_word(const std::string& text, const std::string& word) {
  const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

std::string area_of(const fs::path& file, const std::string& layer) {
  // src/AREA/… or include/backplane/AREA/…
  const auto path = fs::relative(file, kRoot / layer);
  auto part = path.begin();
  std::advance(part, *part == "include" ? 2 : 1);
  return part->string();
}

}  // namespace

TEST_CASE("includes never point upward") {
  std::vector<std::string> violations;
  for (const auto& [layer, may_use] : kMayUse) {
    for (const auto& file : sources(kRoot / layer)) {
      for (const auto& header : includes(read(file))) {
        if (header.rfind("backplane/", 0) != 0) continue;
        for (const auto& [owner, unused] : kMayUse) {
          if (owner == layer || may_use.count(owner) || !fs::exists(kRoot / owner / "include" / header)) continue;
          violations.push_back(fs::relative(file, kRoot).string() + " includes " + header + " of " + owner);
        }
      }
    }
  }
  CHECK(violations == std::vector<std::string>{});
}

TEST_CASE("the areas of core that need no tensor include nothing of libtorch") {
  std::vector<std::string> violations;
  for (const auto& file : sources(kRoot / "core")) {
    if (!kTensorFree.count(area_of(file, "core"))) continue;
    for (const auto& header : includes(read(file))) {
      const auto first = header.substr(0, header.find('/'));
      const auto rest = header.substr(std::min(header.size(), first.size() + 1));
      const bool torch = first == "ATen" || first == "torch" || first == "c10" || first == "caffe2";
      const bool tensor_area = first == "backplane" && !kTensorFree.count(rest.substr(0, rest.find('/')));
      if (torch || tensor_area) violations.push_back(fs::relative(file, kRoot).string() + " includes " + header);
    }
  }
  CHECK(violations == std::vector<std::string>{});
}

TEST_CASE("core and registry name no model") {
  // Names of tokenizer and processor classes and of GGUF's architectures are data of the formats that they belong to.
  const std::set<std::string> formats = {"text", "formats", "vision", "audio"};
  // Words of their own; "mamba" is a cache_implementation of generation_config.json.
  const std::set<std::string> words = {"bit", "git", "encoder_decoder", "mamba"};
  std::vector<std::string> violations;
  for (const std::string layer : {"core", "registry"}) {
    for (const auto& file : sources(kRoot / layer)) {
      if (layer == "core" && formats.count(area_of(file, layer))) continue;
      const auto code = without_comments(read(file));
      for (const auto& plugin : fs::directory_iterator(kRoot / "plugins")) {
        const std::string name = plugin.path().filename().string();
        if (plugin.is_directory() && !words.count(name) && has_word(code, name)) {
          violations.push_back(fs::relative(file, kRoot).string() + " names " + name);
        }
      }
    }
  }
  CHECK(violations == std::vector<std::string>{});
}
