#include "backplane/config/lookup.h"

#include <algorithm>

#include "backplane/config/config_json.h"
#include "field_visitors.h"

namespace backplane {

Value find_value(const PretrainedConfig& config, std::string_view key) {
  FieldLister lister;
  const_cast<PretrainedConfig&>(config).fields(lister);  // the lister only looks
  std::string name(key);
  for (const auto& [alias, target] : lister.aliases) {
    if (alias == name) name = target;
  }
  FieldWriter writer;
  const_cast<PretrainedConfig&>(config).fields(writer);
  const Json json = writer.take();
  if (const auto found = json.find(name); found != json.end()) return to_value(*found);
  const Value* extra = config.find_extra(name);
  return extra ? *extra : Value();
}

std::optional<int64_t> find_number(const PretrainedConfig& config, std::string_view key) {
  const Value value = find_value(config, key);
  return value.is_int() ? std::optional(value.as_int()) : std::nullopt;
}

}  // namespace backplane
