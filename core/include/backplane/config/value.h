#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace backplane {

/// A JSON value for headers that plugins see: null, bool, whole number, number, text, list, or object that keeps its order.
class Value {
 public:
  using List = std::vector<Value>;
  using Object = std::vector<std::pair<std::string, Value>>;

  Value() = default;
  Value(std::nullptr_t) {}
  Value(bool value) : data_(value) {}
  Value(int value) : data_(int64_t{value}) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(const char* value) : data_(std::string(value)) {}
  Value(std::string value) : data_(std::move(value)) {}
  Value(List value) : data_(std::move(value)) {}
  Value(Object value) : data_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_list() const { return std::holds_alternative<List>(data_); }
  bool is_object() const { return std::holds_alternative<Object>(data_); }

  /// The accessors throw `bad_config` naming what was found where the value is of another kind.
  bool as_bool() const;
  int64_t as_int() const;
  double as_double() const;  // whole numbers too
  const std::string& as_string() const;
  const List& as_list() const;
  const Object& as_object() const;

  /// The member of an object; nullptr where there is none or where this is no object.
  const Value* find(std::string_view key) const;
  /// The member as a number, or `fallback` where it is absent or null.
  double number_or(std::string_view key, double fallback) const;
  /// A whole number as a list of one, a list of whole numbers as it is, null as an empty list (eos_token_id).
  std::vector<int64_t> as_int_list() const;

  /// As one line of JSON, for messages; cut where it is long.
  std::string to_string() const;

  friend bool operator==(const Value&, const Value&) = default;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, List, Object> data_;
};

/// Sets the key of an object in place, or appends it.
void set(Value::Object& object, std::string_view key, Value value);

}  // namespace backplane
