#include "backplane/registry/manifest.h"

#include <algorithm>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr size_t kMaxName = 200;

// The names go to terminals and into paths, so only the characters that such names have pass.
bool is_name(std::string_view text) {
  return text.size() <= kMaxName && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
                  c == '-' || c == '+';
         });
}

bool is_printable(std::string_view text, bool lines) {
  return std::all_of(text.begin(), text.end(),
                     [&](unsigned char c) { return (c >= 0x20 && c < 0x7f) || (lines && c == '\n'); });
}

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::bad_plugin, concat(path_, ": malformed manifest: ", why));
  }

  const Json* member(const Json& object, const char* key) const {
    if (!object.is_object()) refuse(concat("an object with '", key, "' is expected"));
    const auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
  }

  std::string text(const Json& object, const char* key) const {
    const Json* value = member(object, key);
    if (value == nullptr || !value->is_string()) refuse(concat("'", key, "' is no text"));
    return value->get<std::string>();
  }

  std::string printable(const Json& object, const char* key, bool lines) const {
    const std::string value = text(object, key);
    if (!is_printable(value, lines)) refuse(concat("'", key, "' has characters that cannot be printed"));
    return value;
  }

  std::string optional_name(const Json& object, const char* key) const {
    if (member(object, key) == nullptr) return "";
    const std::string value = text(object, key);
    if (!is_name(value)) refuse(concat("'", key, "' has other characters than letters, digits, '.', '_', '-' and '+'"));
    return value;
  }

  std::string name(const Json& object, const char* key) const {
    const std::string value = optional_name(object, key);
    if (value.empty()) refuse(concat("'", key, "' is missing"));
    return value;
  }

  template <class Entry, class Read>
  std::vector<Entry> list(const Json& object, const char* key, Read read) const {
    const Json* value = member(object, key);
    if (value == nullptr) return {};
    if (!value->is_array()) refuse(concat("'", key, "' is no list"));
    std::vector<Entry> entries;
    for (const Json& item : *value) entries.push_back(read(item));
    return entries;
  }

 private:
  const std::string& path_;
};

}  // namespace

std::vector<std::string> Manifest::model_types() const {
  std::vector<std::string> types;
  const auto add = [&](const std::string& type) {
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
  };
  for (const auto& entry : configs) add(entry.model_type);
  for (const auto& entry : models) add(entry.model_type);
  for (const auto& entry : preprocessors) add(entry.model_type);
  return types;
}

void Manifest::set_provides(const Registration& registration) {
  configs.clear();
  models.clear();
  preprocessors.clear();
  ggufs.clear();
  for (const auto& e : registration.configs) configs.push_back({e.model_type, e.class_name});
  for (const auto& e : registration.models) models.push_back({e.auto_class, e.model_type, e.class_name, e.config_class});
  for (const auto& e : registration.preprocessors) preprocessors.push_back({e.auto_class, e.model_type, e.slow, e.fast});
  for (const auto& e : registration.ggufs) {
    ggufs.push_back({std::string(e.mapping.architecture), std::string(e.mapping.model_type)});
  }
}

bool Manifest::provides_the_same(const Manifest& other) const {
  return configs == other.configs && models == other.models && preprocessors == other.preprocessors && ggufs == other.ggufs;
}

Registration Manifest::declaration(const ProviderPtr& provider) const {
  Registration registration;
  for (const auto& e : configs) registration.configs.push_back({e.model_type, e.class_name, nullptr, provider});
  for (const auto& e : models) {
    registration.models.push_back({e.auto_class, e.model_type, e.class_name, e.config_class, nullptr, provider});
  }
  for (const auto& e : preprocessors) {
    registration.preprocessors.push_back({e.auto_class, e.model_type, e.slow, e.fast, provider});
  }
  for (const auto& e : ggufs) {
    GgufEntry entry;
    entry.mapping.architecture = e.architecture;
    entry.mapping.model_type = e.model_type;
    entry.provider = provider;
    registration.ggufs.push_back(std::move(entry));
  }
  return registration;
}

std::string to_json(const Manifest& manifest) {
  Json json = {{"format", Manifest::kFormat},      {"id", manifest.id},
               {"version", manifest.version},      {"license", manifest.license},
               {"source", manifest.source},        {"fingerprint", manifest.fingerprint},
               {"configs", Json::array()},         {"models", Json::array()},
               {"preprocessors", Json::array()}};
  for (const auto& e : manifest.configs) {
    json["configs"].push_back({{"model_type", e.model_type}, {"class", e.class_name}});
  }
  for (const auto& e : manifest.models) {
    json["models"].push_back({{"auto_class", e.auto_class},
                              {"model_type", e.model_type},
                              {"class", e.class_name},
                              {"config_class", e.config_class}});
  }
  for (const auto& e : manifest.preprocessors) {
    Json entry = {{"auto_class", e.auto_class}, {"model_type", e.model_type}};
    if (!e.slow.empty()) entry["slow"] = e.slow;
    if (!e.fast.empty()) entry["fast"] = e.fast;
    json["preprocessors"].push_back(std::move(entry));
  }
  for (const auto& e : manifest.ggufs) {
    json["ggufs"].push_back({{"architecture", e.architecture}, {"model_type", e.model_type}});
  }
  return json.dump();
}

Manifest parse_manifest(std::string_view text, const std::string& path) {
  const Reader read(path);
  if (text.empty()) read.refuse("the note is empty; the build's last step, backplane-manifest, did not run");
  const Json json = parse_json(text, path, ErrorCode::bad_plugin, {.bytes = 64 << 10, .depth = 8});
  const Json* format = read.member(json, "format");
  if (format == nullptr || !format->is_number_integer()) read.refuse("'format' is no number");
  if (*format != Manifest::kFormat) {
    read.refuse(concat("format ", format->dump(), ", this host reads ", Manifest::kFormat));
  }
  Manifest manifest;
  manifest.id = read.name(json, "id");
  manifest.version = read.name(json, "version");
  manifest.license = read.printable(json, "license", false);
  manifest.source = read.optional_name(json, "source");
  manifest.fingerprint = read.printable(json, "fingerprint", true);
  manifest.configs = read.list<Manifest::Config>(json, "configs", [&](const Json& e) {
    return Manifest::Config{read.name(e, "model_type"), read.name(e, "class")};
  });
  manifest.models = read.list<Manifest::Model>(json, "models", [&](const Json& e) {
    return Manifest::Model{read.name(e, "auto_class"), read.name(e, "model_type"), read.name(e, "class"),
                           read.name(e, "config_class")};
  });
  manifest.preprocessors = read.list<Manifest::Preprocessor>(json, "preprocessors", [&](const Json& e) {
    return Manifest::Preprocessor{read.name(e, "auto_class"), read.name(e, "model_type"), read.optional_name(e, "slow"),
                                  read.optional_name(e, "fast")};
  });
  manifest.ggufs = read.list<Manifest::Gguf>(json, "ggufs", [&](const Json& e) {
    return Manifest::Gguf{read.name(e, "architecture"), read.name(e, "model_type")};
  });
  return manifest;
}

}  // namespace backplane
