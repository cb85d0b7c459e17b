#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backplane/config/value.h"

namespace backplane {

class PretrainedConfig;

/// What a configuration's one field list is walked with: reading, writing, diffing and overriding are visitors.
/// A configuration writes `field(BACKPLANE_FIELD(hidden_size));` for each key of its config.json.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  template <class T>
  void operator()(const char* key, T& member) {
    if constexpr (std::derived_from<T, PretrainedConfig>) {
      nested(key, member);
    } else {
      visit(key, member);
    }
  }
  /// Another name for `key` that reading and overriding accept and writing never uses (attribute_map, AC-15).
  virtual void alias(const char* name, const char* key) = 0;

 protected:
  virtual void visit(const char* key, bool& member) = 0;
  virtual void visit(const char* key, int64_t& member) = 0;
  virtual void visit(const char* key, double& member) = 0;
  virtual void visit(const char* key, std::string& member) = 0;
  virtual void visit(const char* key, std::optional<bool>& member) = 0;
  virtual void visit(const char* key, std::optional<int64_t>& member) = 0;
  virtual void visit(const char* key, std::optional<double>& member) = 0;
  virtual void visit(const char* key, std::optional<std::string>& member) = 0;
  virtual void visit(const char* key, std::vector<bool>& member) = 0;
  virtual void visit(const char* key, std::vector<int64_t>& member) = 0;
  virtual void visit(const char* key, std::vector<double>& member) = 0;
  virtual void visit(const char* key, std::vector<std::string>& member) = 0;
  virtual void visit(const char* key, std::optional<std::vector<int64_t>>& member) = 0;
  virtual void visit(const char* key, std::optional<std::vector<std::string>>& member) = 0;
  /// For keys whose type varies (rope_scaling; a number or a list).
  virtual void visit(const char* key, Value& member) = 0;
  /// A configuration inside; absent or null keeps the defaults.
  virtual void nested(const char* key, PretrainedConfig& member) = 0;
  /// A configuration of whatever model_type the file says, made through the registry; null where absent.
  virtual void visit(const char* key, std::shared_ptr<PretrainedConfig>& member) = 0;
};

#define BACKPLANE_FIELD(member) #member, member

}  // namespace backplane
