#include "cli/new_plugin.h"

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cctype>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"

namespace backplane::cli {
namespace {

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
    for (size_t at = 0; (at = text.find(key, at)) != std::string::npos; at += value.size()) text.replace(at, key.size(), value);
  }
  return text;
}

}  // namespace

std::vector<std::string> new_plugin(const std::string& id, std::string folder) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; };
  const auto parts = split(id, '.');
  if (parts.size() < 2 || !std::all_of(id.begin(), id.end(), allowed) ||
      std::any_of(parts.begin(), parts.end(), [](const std::string& part) { return part.empty() || !std::isalpha(static_cast<unsigned char>(part[0])); })) {
    throw Error(ErrorCode::usage, concat("'", id, "' is no id for a plugin; give a reversed domain name and the model type, as org.me.foo"));
  }
  const std::string type = parts.back();
  std::string name = type, class_name;
  std::replace(name.begin(), name.end(), '-', '_');
  for (const auto& word : split(name, '_')) {
    if (!word.empty()) class_name += static_cast<char>(std::toupper(static_cast<unsigned char>(word[0]))) + word.substr(1);
  }
  if (folder.empty()) folder = type;
  if (boost::filesystem::exists(folder)) throw Error(ErrorCode::io, concat(folder, ": exists already; give another with --folder"));
  boost::filesystem::create_directories(folder);

  const std::vector<std::pair<std::string, std::string>> values = {{"@ID@", id}, {"@TYPE@", type}, {"@NAME@", name}, {"@CLASS@", class_name}};
  std::vector<std::string> files;
  for (const auto& [file, text] : {std::pair<std::string, const char*>("CMakeLists.txt", kProject),
                                   {"configuration_" + name + ".h", kConfiguration},
                                   {"modeling_" + name + ".cpp", kModeling},
                                   {"README.md", kReadme}}) {
    files.push_back(folder + "/" + file);
    write_file(files.back(), filled(text, values));
  }
  return files;
}

}  // namespace backplane::cli
