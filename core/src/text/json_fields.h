#pragma once

#include <string>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"

namespace backplane::text {

[[noreturn]] inline void bad(const std::string& where, const std::string& what) {
  throw Error(ErrorCode::bad_tokenizer, concat(where, ": ", what));
}

// Typed reading of a part of tokenizer.json; `where` names file and key in messages.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) bad(where_, concat("expected an object, found ", object.type_name()));
  }

  const std::string& where() const { return where_; }
  std::string path(const char* key) const { return concat(where_, ".", key); }
  bool has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }
  const Json& at(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end()) bad(where_, concat("key '", key, "' is missing"));
    return *found;
  }
  std::string text(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) bad(path(key), concat("expected a string, found ", value.type_name()));
    return value.get<std::string>();
  }
  std::string text(const char* key, const std::string& absent) const { return has(key) ? text(key) : absent; }
  bool flag(const char* key) const {
    const Json& value = at(key);
    if (!value.is_boolean()) bad(path(key), concat("expected true or false, found ", value.type_name()));
    return value.get<bool>();
  }
  bool flag(const char* key, bool absent) const { return has(key) ? flag(key) : absent; }
  int64_t number(const char* key, int64_t low, int64_t high) const {
    const Json& value = at(key);
    if (!value.is_number_integer()) bad(path(key), concat("expected an integer, found ", value.type_name()));
    if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) bad(path(key), "the number is too large");
    const auto number = value.get<int64_t>();
    if (number < low || number > high) bad(path(key), concat("found ", number, ", expected ", low, " to ", high));
    return number;
  }
  int64_t number(const char* key, int64_t low, int64_t high, int64_t absent) const {
    return has(key) ? number(key, low, high) : absent;
  }
  const Json& list(const char* key) const {
    const Json& value = at(key);
    if (!value.is_array()) bad(path(key), concat("expected a list, found ", value.type_name()));
    return value;
  }

 private:
  const Json& object_;
  std::string where_;
};

}  // namespace backplane::text
