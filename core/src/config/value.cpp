#include "backplane/config/value.h"

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"

namespace backplane {
namespace {

[[noreturn]] void throw_kind(const Value& found, const char* expected) {
  throw Error(ErrorCode::bad_config, concat("found ", found.to_string(), "; expected ", expected));
}

}  // namespace

bool Value::as_bool() const {
  if (const auto* value = std::get_if<bool>(&data_)) return *value;
  throw_kind(*this, "true or false");
}

int64_t Value::as_int() const {
  if (const auto* value = std::get_if<int64_t>(&data_)) return *value;
  throw_kind(*this, "a whole number");
}

double Value::as_double() const {
  if (const auto* value = std::get_if<double>(&data_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&data_)) return static_cast<double>(*value);
  throw_kind(*this, "a number");
}

const std::string& Value::as_string() const {
  if (const auto* value = std::get_if<std::string>(&data_)) return *value;
  throw_kind(*this, "a text");
}

const Value::List& Value::as_list() const {
  if (const auto* value = std::get_if<List>(&data_)) return *value;
  throw_kind(*this, "a list");
}

const Value::Object& Value::as_object() const {
  if (const auto* value = std::get_if<Object>(&data_)) return *value;
  throw_kind(*this, "an object");
}

const Value* Value::find(std::string_view key) const {
  const auto* object = std::get_if<Object>(&data_);
  if (!object) return nullptr;
  for (const auto& [name, value] : *object) {
    if (name == key) return &value;
  }
  return nullptr;
}

double Value::number_or(std::string_view key, double fallback) const {
  const Value* value = find(key);
  return !value || value->is_null() ? fallback : value->as_double();
}

std::vector<int64_t> Value::as_int_list() const {
  if (is_null()) return {};
  if (is_int()) return {as_int()};
  std::vector<int64_t> numbers;
  for (const auto& item : as_list()) numbers.push_back(item.as_int());
  return numbers;
}

std::string Value::to_string() const {
  constexpr size_t kLongest = 120;
  std::string text = python_dumps(to_json(*this), -1, false);
  if (text.size() <= kLongest) return text;
  size_t end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "…";
}

void set(Value::Object& object, std::string_view key, Value value) {
  for (auto& [name, old] : object) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  object.emplace_back(std::string(key), std::move(value));
}

Json to_json(const Value& value) {
  if (value.is_null()) return nullptr;
  if (value.is_bool()) return value.as_bool();
  if (value.is_int()) return value.as_int();
  if (value.is_number()) return value.as_double();
  if (value.is_string()) return value.as_string();
  if (value.is_list()) {
    Json list = Json::array();
    for (const auto& item : value.as_list()) list.push_back(to_json(item));
    return list;
  }
  Json object = Json::object();
  auto& items = object.get_ref<Json::object_t&>();
  items.reserve(value.as_object().size());
  for (const auto& [key, item] : value.as_object()) {
    static_cast<std::vector<std::pair<const std::string, Json>>&>(items).emplace_back(key, to_json(item));  // keys are distinct
  }
  return object;
}

Value to_value(const Json& json) {
  switch (json.type()) {
    case Json::value_t::boolean: return json.get<bool>();
    case Json::value_t::number_integer: return json.get<int64_t>();
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return json.get<double>();
      return json.get<int64_t>();
    case Json::value_t::number_float: return json.get<double>();
    case Json::value_t::string: return json.get_ref<const std::string&>();
    case Json::value_t::array: {
      Value::List list;
      list.reserve(json.size());
      for (const auto& item : json) list.push_back(to_value(item));
      return list;
    }
    case Json::value_t::object: {
      Value::Object object;
      object.reserve(json.size());
      for (auto it = json.begin(); it != json.end(); ++it) object.emplace_back(it.key(), to_value(it.value()));
      return object;
    }
    default: return nullptr;
  }
}

}  // namespace backplane
