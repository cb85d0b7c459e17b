#include "backplane/config/field_value.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "field_visitors.h"

namespace backplane {

Value field_value(const PretrainedConfig& config, std::string_view key) {
  FieldLister lister;
  const_cast<PretrainedConfig&>(config).fields(lister);  // the lister only looks
  std::string name(key);
  for (const auto& [alias, mapped] : lister.aliases) {
    if (alias == key) name = mapped;
  }
  const Json written = write_config(config);
  const auto found = written.find(name);
  return found == written.end() ? Value() : to_value(*found);
}

int64_t int_field(const PretrainedConfig& config, std::string_view key) {
  const Value value = field_value(config, key);
  if (!value.is_int()) {
    throw Error(ErrorCode::bad_config, concat("config.json: ", key, " of the part of type '", config.model_type_name,
                                              "' is ", value.to_string(), "; expected a whole number"));
  }
  return value.as_int();
}

void take_old_part(PretrainedConfig& owner, std::string_view old_key, PretrainedConfig& part) {
  const auto found =
      std::find_if(owner.extra.begin(), owner.extra.end(), [&](const auto& item) { return item.first == old_key; });
  if (found == owner.extra.end()) return;
  if (!found->second.is_null()) read_config(part, to_json(found->second), std::string(old_key));
  owner.extra.erase(found);
}

void read_flat_part(const PretrainedConfig& owner, PretrainedConfig& part) {
  FieldLister lister;
  const_cast<PretrainedConfig&>(owner).fields(lister);
  Json json = write_config(owner);
  for (const auto& [key, inside] : lister.configs) json.erase(key);
  for (const auto& [alias, key] : lister.aliases) {
    if (const auto found = json.find(key); found != json.end()) json[alias] = Json(*found);
  }
  read_config(part, json, "config.json");
}

}  // namespace backplane
