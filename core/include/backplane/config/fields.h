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

template <class Config>
void name_config(Config& config);

/// What a configuration's one field list is walked with: reading, writing, diffing and overriding are visitors.
/// A configuration writes `field(BACKPLANE_FIELD(hidden_size));` for each key of its config.json.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  template <class T>
  void operator()(const char* key, T& member) {
    if constexpr (std::derived_from<T, PretrainedConfig>) {
      name_config(member);
      nested(key, member, [](PretrainedConfig& config) {
        static_cast<T&>(config) = T();
        name_config(static_cast<T&>(config));
      });
    } else {
      visit(key, member);
    }
  }
  /// A configuration of whatever model_type the file says, made through the registry. `default_type` is the model_type
  /// of an object that names none, and of the configuration to be made where the key is absent; nullptr: null then.
  void operator()(const char* key, std::shared_ptr<PretrainedConfig>& member, const char* default_type = nullptr) {
    any(key, member, default_type);
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
  virtual void visit(const char* key, std::optional<std::vector<double>>& member) = 0;
  virtual void visit(const char* key, std::optional<std::vector<std::string>>& member) = 0;
  /// For keys whose type varies (rope_scaling; a number or a list).
  virtual void visit(const char* key, Value& member) = 0;
  /// A configuration inside; absent or null keeps the defaults. `reset` makes it its class's defaults again.
  virtual void nested(const char* key, PretrainedConfig& member, void (*reset)(PretrainedConfig&)) = 0;
  virtual void any(const char* key, std::shared_ptr<PretrainedConfig>& member, const char* default_type) = 0;
};

#define BACKPLANE_FIELD(member) #member, member

}  // namespace backplane
