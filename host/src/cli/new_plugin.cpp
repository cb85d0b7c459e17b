#include "cli/new_plugin.h"

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cctype>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/host/settings.h"

namespace backplane::cli {
namespace {

namespace fs = boost::filesystem;

constexpr uint64_t kMaxSource = 1 << 20;

// @ID@ "org.me.foo", @TYPE@ "foo", @NAME@ "foo" as an identifier, @CLASS@ "Foo".
constexpr const char* kProject = R"(cmake_minimum_required(VERSION 3.25)
project(@TYPE@ VERSION 0.1.0 LANGUAGES CXX)

find_package(Backplane 0.1 REQUIRED)
backplane_add_plugin(@NAME@ ID @ID@)
)";

constexpr const char* kConfiguration = R"(#pragma once

#include <backplane/model.h>

namespace backplane::@NAME@ {

// The keys of config.json, with their defaults.
struct @CLASS@Config : PretrainedConfig {
  static constexpr const char* model_type = "@TYPE@";
  int64_t vocab_size = 32000;
  int64_t hidden_size = 256;

  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
  }
};

}  // namespace backplane::@NAME@
)";

constexpr const char* kModeling = R"(#include "configuration_@NAME@.h"

namespace backplane::@NAME@ {

// Submodules have the names of the checkpoint.
struct @CLASS@Model : PreTrainedModel {
  using Config = @CLASS@Config;
  nn::Embedding embed_tokens;
  nn::RMSNorm norm;

  explicit @CLASS@Model(const @CLASS@Config& c)
      : PreTrainedModel(c),
        embed_tokens(register_module("embed_tokens", nn::Embedding(c.vocab_size, c.hidden_size))),
        norm(register_module("norm", nn::RMSNorm(c.hidden_size))) {}

  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 2> kNames = {"input_ids", "attention_mask"};
    return kNames;
  }

  // input_ids [batch, seq] -> last_hidden_state [batch, seq, hidden]
  ModelOutput compute(const ModelInputs& inputs) override {
    return {{"last_hidden_state", norm(embed_tokens(inputs["input_ids"]))}};
  }
};

BACKPLANE_PLUGIN(@NAME@, plugin) {
  plugin.config<@CLASS@Config>();
  plugin.model<@CLASS@Model>(Auto::Model);
}

}  // namespace backplane::@NAME@
)";

constexpr const char* kReadme = R"(# @ID@

A Backplane plugin for models of type `@TYPE@`.

    cmake -S . -B build -DCMAKE_PREFIX_PATH=<where Backplane is installed>
    cmake --build build
    backplane plugins check build/plugins/lib@NAME@.so
    BACKPLANE_PLUGIN_PATH=build/plugins backplane plugins why @TYPE@
)";

std::string filled(std::string text, const std::vector<std::pair<std::string, std::string>>& values) {
  for (const auto& [key, value] : values) {
    for (size_t at = 0; (at = text.find(key, at)) != std::string::npos; at += value.size())
      text.replace(at, key.size(), value);
  }
  return text;
}

using Files = std::vector<std::pair<std::string, std::string>>;  // name, text

// Where the sources of the built-in plugins lie: installed, or beside the build.
fs::path sources_of(const std::string& plugin) {
  const fs::path built_in = built_in_plugin_folder();
  std::vector<fs::path> places;
  for (const char* up : {"../../../share/backplane/plugins", "../../plugins"}) {
    places.push_back((built_in / up / plugin).lexically_normal());
    if (fs::exists(places.back() / ("configuration_" + plugin + ".h"))) return places.back();
  }
  throw Error(ErrorCode::file_not_found, concat("--like ", plugin, ": no sources of such a plugin in ",
                                                places[0].string(), " or ", places[1].string()));
}

// The class names of a plugin begin alike: what stands before "Config" in its configuration.
std::string class_prefix(const std::string& configuration) {
  constexpr std::string_view kMark = "Config : ";
  const size_t end = configuration.find(kMark);
  const size_t start = end == std::string::npos ? end : configuration.rfind(' ', end);
  if (start == std::string::npos) return "";
  return configuration.substr(start + 1, end - start - 1);
}

// Replaces `name` where it is not part of a longer lower-case word, and class names that begin with `prefix` but are
// not those of tokenizers and processors, which core provides by name.
std::string renamed(std::string text, const std::string& name, const std::string& new_name, const std::string& prefix,
                    const std::string& new_prefix) {
  const auto is_word = [](char c) {
    return std::islower(static_cast<unsigned char>(c)) || std::isdigit(static_cast<unsigned char>(c));
  };
  for (size_t at = 0; (at = text.find(name, at)) != std::string::npos;) {
    const size_t end = at + name.size();
    if ((at > 0 && is_word(text[at - 1])) || (end < text.size() && is_word(text[end]))) {
      at = end;
    } else {
      text.replace(at, name.size(), new_name);
      at += new_name.size();
    }
  }
  if (prefix.empty()) return text;
  for (size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;) {
    size_t end = at;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
    const std::string word = text.substr(at, end - at);
    const bool of_core = word.find("Tokenizer") != std::string::npos || word.find("Processor") != std::string::npos ||
                         word.find("FeatureExtractor") != std::string::npos;
    if (of_core || !std::isupper(static_cast<unsigned char>(text[at + prefix.size()]))) {
      at = end;
    } else {
      text.replace(at, prefix.size(), new_prefix);
      at += new_prefix.size();
    }
  }
  return text;
}

// The sources of a built-in plugin under new names; headers of its siblings come along in folders of their own.
Files like_plugin(const std::string& plugin, const std::string& name, const std::string& class_name) {
  const fs::path folder = sources_of(plugin);
  const std::string prefix =
      class_prefix(read_file((folder / ("configuration_" + plugin + ".h")).string(), kMaxSource));
  Files files;
  std::vector<std::string> siblings;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".h" && entry.path().extension() != ".cpp") continue;
    std::string text = renamed(read_file(entry.path().string(), kMaxSource), plugin, name, prefix, class_name);
    constexpr std::string_view kSibling = "#include \"../";
    for (size_t at = 0; (at = text.find(kSibling, at)) != std::string::npos;) {
      const size_t start = at + kSibling.size(), end = text.find('/', start);
      siblings.push_back(text.substr(start, end - start));
      text.erase(start - 3, 3);  // "../x/y.h" -> "x/y.h"
    }
    files.emplace_back(renamed(entry.path().filename().string(), plugin, name, "", ""), std::move(text));
  }
  for (size_t i = 0; i < siblings.size(); ++i) {
    if (std::find(siblings.begin(), siblings.begin() + static_cast<std::ptrdiff_t>(i), siblings[i]) !=
        siblings.begin() + static_cast<std::ptrdiff_t>(i)) {
      continue;
    }
    for (const auto& entry : fs::directory_iterator(sources_of(siblings[i]))) {
      if (entry.path().extension() != ".h") continue;
      std::string text = read_file(entry.path().string(), kMaxSource);
      constexpr std::string_view kSibling = "#include \"../";
      for (size_t at = 0; (at = text.find(kSibling, at)) != std::string::npos; at += kSibling.size()) {
        const size_t start = at + kSibling.size();
        siblings.push_back(text.substr(start, text.find('/', start) - start));
      }
      files.emplace_back(siblings[i] + "/" + entry.path().filename().string(), std::move(text));
    }
  }
  return files;
}

}  // namespace

std::vector<std::string> new_plugin(const std::string& id, std::string folder, const std::string& like) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; };
  const auto parts = split(id, '.');
  if (parts.size() < 2 || !std::all_of(id.begin(), id.end(), allowed) ||
      std::any_of(parts.begin(), parts.end(), [](const std::string& part) {
        return part.empty() || !std::isalpha(static_cast<unsigned char>(part[0]));
      })) {
    throw Error(
        ErrorCode::usage,
        concat("'", id, "' is no id for a plugin; give a reversed domain name and the model type, as org.me.foo"));
  }
  const std::string type = parts.back();
  std::string name = type, class_name;
  std::replace(name.begin(), name.end(), '-', '_');
  for (const auto& word : split(name, '_')) {
    if (!word.empty())
      class_name += static_cast<char>(std::toupper(static_cast<unsigned char>(word[0]))) + word.substr(1);
  }
  Files files = {{"CMakeLists.txt", kProject}, {"README.md", kReadme}};
  if (like.empty()) {
    files.emplace_back("configuration_" + name + ".h", kConfiguration);
    files.emplace_back("modeling_" + name + ".cpp", kModeling);
  } else {
    for (auto& file : like_plugin(like, name, class_name)) files.push_back(std::move(file));
  }
  if (folder.empty()) folder = type;
  if (fs::exists(folder)) throw Error(ErrorCode::io, concat(folder, ": exists already; give another with --folder"));

  const Files values = {{"@ID@", id}, {"@TYPE@", type}, {"@NAME@", name}, {"@CLASS@", class_name}};
  std::vector<std::string> written;
  for (const auto& [file, text] : files) {
    written.push_back(folder + "/" + file);
    fs::create_directories(fs::path(written.back()).parent_path());
    write_file(written.back(), filled(text, values));
  }
  return written;
}

}  // namespace backplane::cli
