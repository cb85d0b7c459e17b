#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/json.h"
#include "backplane/config/config_json.h"
#include "backplane/config/fields.h"

namespace backplane {

/// A visitor that treats every kind of member alike: derived classes write one template `each`.
template <class Derived>
class UniformVisitor : public FieldVisitor {
 protected:
#define BACKPLANE_UNIFORM_VISIT(...) \
  void visit(const char* key, __VA_ARGS__& member) override { static_cast<Derived*>(this)->each(key, member); }
  BACKPLANE_UNIFORM_VISIT(bool)
  BACKPLANE_UNIFORM_VISIT(int64_t)
  BACKPLANE_UNIFORM_VISIT(double)
  BACKPLANE_UNIFORM_VISIT(std::string)
  BACKPLANE_UNIFORM_VISIT(std::optional<bool>)
  BACKPLANE_UNIFORM_VISIT(std::optional<int64_t>)
  BACKPLANE_UNIFORM_VISIT(std::optional<double>)
  BACKPLANE_UNIFORM_VISIT(std::optional<std::string>)
  BACKPLANE_UNIFORM_VISIT(std::vector<bool>)
  BACKPLANE_UNIFORM_VISIT(std::vector<int64_t>)
  BACKPLANE_UNIFORM_VISIT(std::vector<double>)
  BACKPLANE_UNIFORM_VISIT(std::vector<std::string>)
  BACKPLANE_UNIFORM_VISIT(std::optional<std::vector<int64_t>>)
  BACKPLANE_UNIFORM_VISIT(std::optional<std::vector<double>>)
  BACKPLANE_UNIFORM_VISIT(std::optional<std::vector<std::string>>)
  BACKPLANE_UNIFORM_VISIT(Value)
#undef BACKPLANE_UNIFORM_VISIT
};

/// Where a value came from, for messages: "config.json: vision_config.hidden_size".
struct FieldSource {
  std::string name;  // of the file; empty for arguments
  ErrorCode code = ErrorCode::bad_config;

  [[noreturn]] void fail(const std::string& key, const Json& found, std::string_view expected) const;
};

/// Sets the members that `source` has, and takes down which keys those were.
class FieldReader : public UniformVisitor<FieldReader> {
 public:
  FieldReader(const Json& json, const FieldSource& source, std::string prefix = "");

  void alias(const char*, const char*) override {}
  template <class T>
  void each(const char* key, T& member) {
    if (const Json* found = take(key)) read(key, *found, member);
  }

  /// Aliases of the configuration that is about to be read: their values are found under the mapped name, too, and win (AC-15).
  void set_aliases(std::vector<std::pair<std::string, std::string>> aliases) { aliases_ = std::move(aliases); }
  /// Whether configurations that the source lacks are made from `default_type`: so for files, not for overrides.
  void make_absent(bool make) { make_absent_ = make; }

  /// The value of a key, which then counts as taken; nullptr where there is none.
  const Json* take(const std::string& key);
  /// The items of the source that nobody took, in order.
  std::vector<std::pair<std::string, const Json*>> left() const;
  std::string path(const std::string& key) const { return prefix_ + key; }

 protected:
  void nested(const char* key, PretrainedConfig& member, void (*reset)(PretrainedConfig&)) override;
  void any(const char* key, std::shared_ptr<PretrainedConfig>& member, const char* default_type) override;

 private:
  void read(const char* key, const Json& found, bool& member);
  void read(const char* key, const Json& found, int64_t& member);
  void read(const char* key, const Json& found, double& member);
  void read(const char* key, const Json& found, std::string& member);
  void read(const char* key, const Json& found, Value& member);
  template <class T>
  void read(const char* key, const Json& found, std::optional<T>& member) {
    if (found.is_null()) {
      member.reset();
    } else {
      T value{};
      read(key, found, value);
      member = std::move(value);
    }
  }
  template <class T>
  void read(const char* key, const Json& found, std::vector<T>& member) {
    if (!found.is_array()) source_.fail(path(key), found, "a list");
    std::vector<T> values;
    values.reserve(found.size());
    for (const auto& item : found) {
      T value{};
      read(key, item, value);
      values.push_back(std::move(value));
    }
    member = std::move(values);
  }
  void check_size(const char* key, int64_t value) const;

  struct Item {
    std::string_view key;
    const Json* value;
    bool taken = false;
  };
  std::vector<Item> items_;
  std::vector<std::pair<std::string, std::string>> aliases_;
  const FieldSource& source_;
  std::string prefix_;
  bool make_absent_ = true;
};

/// Writes every member under its key.
class FieldWriter : public UniformVisitor<FieldWriter> {
 public:
  void alias(const char*, const char*) override {}
  template <class T>
  void each(const char* key, T& member) {
    put(key, to(member));
  }
  void put(const char* key, Json value);
  Json take() { return std::move(json_); }

 protected:
  void nested(const char* key, PretrainedConfig& member, void (*)(PretrainedConfig&)) override;
  void any(const char* key, std::shared_ptr<PretrainedConfig>& member, const char*) override;

 private:
  template <class T>
  static Json to(const T& value) {
    return value;
  }
  static Json to(const Value& value) { return to_json(value); }
  template <class T>
  static Json to(const std::vector<T>& values) {
    Json list = Json::array();
    for (const T& value : values) list.push_back(value);
    return list;
  }
  template <class T>
  static Json to(const std::optional<T>& value) {
    return value ? to(*value) : Json(nullptr);
  }

  Json json_ = Json::object();
};

/// Lists keys, aliases and configurations inside.
class FieldLister : public UniformVisitor<FieldLister> {
 public:
  void alias(const char* name, const char* key) override { aliases.emplace_back(name, key); }
  template <class T>
  void each(const char* key, T&) {
    keys.emplace_back(key);
  }

  std::vector<std::string> keys;
  std::vector<std::pair<std::string, std::string>> aliases;  // name, key
  std::vector<std::pair<std::string, PretrainedConfig*>> configs;
  std::vector<std::pair<std::string, std::shared_ptr<PretrainedConfig>*>> pointers;

 protected:
  void nested(const char* key, PretrainedConfig& member, void (*)(PretrainedConfig&)) override {
    keys.emplace_back(key);
    configs.emplace_back(key, &member);
  }
  void any(const char* key, std::shared_ptr<PretrainedConfig>& member, const char*) override {
    keys.emplace_back(key);
    if (member) configs.emplace_back(key, member.get());
    pointers.emplace_back(key, &member);
  }
};

}  // namespace backplane
