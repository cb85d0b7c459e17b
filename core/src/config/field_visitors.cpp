#include "field_visitors.h"

#include <algorithm>

#include "backplane/base/strings.h"

namespace backplane {
namespace {

struct SizeRule {
  std::string_view key;
  int64_t least;
  int64_t most;
};
// The reference takes any number and fails, or fills the memory, where the model is built.
constexpr SizeRule kSizeRules[] = {
    {"vocab_size", 1, int64_t{1} << 31},          {"hidden_size", 1, int64_t{1} << 24},
    {"intermediate_size", 0, int64_t{1} << 31},   {"num_hidden_layers", 0, 65536},
    {"num_attention_heads", 0, 65536},            {"num_key_value_heads", 0, 65536},
    {"max_position_embeddings", -1, int64_t{1} << 31},
};

std::string shown(const Json& value) {
  return to_value(value).to_string();
}

}  // namespace

void FieldSource::fail(const std::string& key, const Json& found, std::string_view expected) const {
  throw Error(code, concat(name, name.empty() ? "" : ": ", key, " is ", shown(found), "; expected ", expected));
}

FieldReader::FieldReader(const Json& json, const FieldSource& source, std::string prefix) : source_(source), prefix_(std::move(prefix)) {
  items_.reserve(json.size());
  for (auto it = json.begin(); it != json.end(); ++it) items_.push_back({it.key(), &it.value()});
}

const Json* FieldReader::take(const std::string& key) {
  const auto take_named = [this](std::string_view name) -> const Json* {
    const auto item = std::find_if(items_.begin(), items_.end(), [&](const Item& other) { return other.key == name; });
    if (item == items_.end()) return nullptr;
    item->taken = true;
    return item->value;
  };
  const Json* found = take_named(key);
  for (const auto& [name, mapped] : aliases_) {
    if (mapped != key) continue;
    if (const Json* other = take_named(name)) found = other;
  }
  return found;
}

std::vector<std::pair<std::string, const Json*>> FieldReader::left() const {
  std::vector<std::pair<std::string, const Json*>> items;
  for (const auto& item : items_) {
    if (!item.taken) items.emplace_back(item.key, item.value);
  }
  return items;
}

void FieldReader::read(const char* key, const Json& found, bool& member) {
  // Python takes null for false, and 0 and 1 for what they mean.
  if (found.is_null()) {
    member = false;
  } else if (found.is_boolean()) {
    member = found.get<bool>();
  } else if (found.is_number_integer() && (found == 0 || found == 1)) {
    member = found == 1;
  } else {
    source_.fail(path(key), found, "true or false");
  }
}

void FieldReader::read(const char* key, const Json& found, int64_t& member) {
  const Value value = to_value(found);
  if (!value.is_int()) source_.fail(path(key), found, "a whole number");
  check_size(key, value.as_int());
  member = value.as_int();
}

void FieldReader::check_size(const char* key, int64_t value) const {
  for (const auto& rule : kSizeRules) {
    const bool named = rule.key == key || std::any_of(aliases_.begin(), aliases_.end(), [&](const auto& alias) {
                         return alias.second == key && alias.first == rule.key;
                       });
    if (named && (value < rule.least || value > rule.most)) {
      source_.fail(path(key), value, concat("a number from ", rule.least, " to ", rule.most));
    }
  }
}

void FieldReader::read(const char* key, const Json& found, double& member) {
  if (!found.is_number()) source_.fail(path(key), found, "a number");
  member = found.get<double>();
}

void FieldReader::read(const char* key, const Json& found, std::string& member) {
  if (!found.is_string()) source_.fail(path(key), found, "a text");
  member = found.get_ref<const std::string&>();
}

void FieldReader::read(const char*, const Json& found, Value& member) {
  member = to_value(found);
}

void FieldWriter::put(const char* key, Json value) {
  // A derived configuration may list an inherited key again; ordered_json replaces it.
  json_[key] = std::move(value);
}

void FieldWriter::nested(const char* key, PretrainedConfig& member, void (*)(PretrainedConfig&)) {
  put(key, write_config(member));
}

void FieldWriter::any(const char* key, std::shared_ptr<PretrainedConfig>& member, const char*) {
  put(key, member ? write_config(*member) : Json(nullptr));
}

}  // namespace backplane
