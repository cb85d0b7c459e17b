#include "auto/config_view.h"

#include <algorithm>

#include "auto/remote_code.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/resolve.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

// Empty for the core's own classes.
std::string provider_id(const ProviderPtr& provider) { return provider && provider->id != "core" ? provider->id : ""; }

// The longest type that occurs in the name as it was given; of equally long ones the first (AC-05).
std::optional<std::string> type_in_name(const std::string& name) {
  std::optional<std::string> best;
  for (const auto& type : types_with_config()) {
    if ((!best || type.size() > best->size()) && name.find(type) != std::string::npos) best = type;
  }
  return best;
}

[[noreturn]] void throw_no_type(ModelFolder& folder) {
  if (folder.is_local() && folder.find("adapter_config.json") && !folder.find("config.json")) {
    throw Error(ErrorCode::adapter_only, concat("'", folder.shown(), "' holds adapter weights only; load the base model that its adapter_config.json names"));
  }
  throw Error(ErrorCode::no_model_type, concat("'", folder.shown(), "' has no model_type in its config.json, and its name holds none of the known types: ",
                                               join(types_with_config())));
}

}  // namespace

std::optional<TypeInfo> find_type(std::string_view model_type, bool without_config) {
  plugin_source();
  const KnownModel* known = KnownModels::get().find(model_type);
  if (const auto entry = Registry::process().config(model_type)) {
    return TypeInfo{entry->model_type, entry->class_name, provider_id(entry->provider), known};
  }
  if (!known || (known->config_class.empty() && !without_config)) return std::nullopt;
  // A file may carry another spelling than the table's (AC-25); the plugin registers the table's.
  if (const auto entry = Registry::process().config(known->model_type)) {
    return TypeInfo{entry->model_type, entry->class_name, provider_id(entry->provider), known};
  }
  return TypeInfo{std::string(known->model_type), std::string(known->config_class), std::string(known->plugin), known};
}

std::vector<std::string> types_of_class(std::string_view config_class) {
  std::vector<std::string> types;
  for (const auto* known : KnownModels::get().of_config_class(config_class)) types.emplace_back(known->model_type);
  for (auto& type : Registry::process().types_of_config_class(config_class)) {
    if (std::find(types.begin(), types.end(), type) == types.end()) types.push_back(std::move(type));
  }
  return types;
}

std::vector<std::string> types_with_config() {
  plugin_source();
  std::vector<std::string> types;
  for (const auto& known : KnownModels::get().all()) {
    if (!known.config_class.empty()) types.emplace_back(known.model_type);
  }
  for (auto& type : Registry::process().model_types()) {
    if (!KnownModels::get().find(type)) types.push_back(std::move(type));
  }
  return types;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& candidates) {
  const auto near = close_matches(word, candidates);
  return near.empty() ? "" : concat("; did you mean '", join(near, "' or '"), "'?");
}

std::optional<std::string> ConfigView::text(const std::string& key) const {
  for (const auto& [name, value] : overrides) {
    if (name == key && (json.contains(key) || key == "tokenizer_class")) return value.is_string() ? std::optional(value.as_string()) : std::nullopt;
  }
  if (auto found = text_member(json, key, "config.json")) return found;
  if (key == "tokenizer_class" && !json.contains(key) && type.known && !type.known->default_tokenizer_class.empty()) {
    return std::string(type.known->default_tokenizer_class);
  }
  return std::nullopt;
}

std::vector<std::string> ConfigView::architectures() const {
  std::vector<std::string> names;
  if (const auto found = json.find("architectures"); found != json.end() && found->is_array()) {
    for (const auto& name : *found) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
  }
  return names;
}

ConfigView read_config_view(ModelFolder& folder, const PretrainedOptions& options) {
  ConfigView view;
  view.overrides = options.overrides;
  view.json = folder.config();
  const auto given = view.json.find("model_type");
  std::optional<TypeInfo> type;
  if (given != view.json.end()) {
    if (given->is_string()) type = find_type(given->get_ref<const std::string&>());
    view.given_type = given->is_string() ? given->get<std::string>() : to_value(*given).to_string();
  }
  if (const auto reference = code_reference(view.json, "AutoConfig", "config.json")) {
    settle_remote_code(folder, options, "AutoConfig", *reference, type.has_value());
  }
  if (type) {
    view.type = std::move(*type);
  } else if (view.given_type) {
    throw Error(ErrorCode::unknown_model_type,
                concat("config.json of '", folder.shown(), "' has model_type '", *view.given_type, "', which no plugin provides and the table does not know",
                       suggestion(*view.given_type, types_with_config())));
  } else if (const auto found = type_in_name(folder.name())) {
    view.type = *find_type(*found);
  } else {
    throw_no_type(folder);
  }
  return view;
}

void check_parts(const ConfigView& view, const ModelFolder& folder) {
  if (!view.type.known) return;
  for (const auto part : view.type.known->parts) {
    const auto found = view.json.find(std::string(part));
    if (found == view.json.end() || !found->is_object()) {
      throw Error(ErrorCode::bad_config, concat("config.json of '", folder.shown(), "': a configuration of type '", view.type.model_type,
                                                "' needs the part '", part, "'; it has ", found == view.json.end() ? "none" : to_value(*found).to_string()));
    }
    const auto type = text_member(*found, "model_type", concat("config.json: ", part));
    if (type && !find_type(*type)) {
      throw Error(ErrorCode::unknown_model_type, concat("config.json of '", folder.shown(), "': the part '", part, "' has model_type '", *type,
                                                        "', which is not known", suggestion(*type, types_with_config())));
    }
  }
}

std::shared_ptr<PretrainedConfig> build_config(const ConfigView& view, const ModelFolder& folder, const PretrainedOptions& options, Json& unused) {
  check_parts(view, folder);
  const auto config = loaded_config(view.type.model_type).create();
  // config.json of '<name>': what the messages name
  read_config(*config, view.json, concat("'", folder.shown(), "': config.json"));
  Json overrides = to_json(Value(view.overrides));
  if (!options.torch_dtype.is_null()) overrides["torch_dtype"] = to_json(options.torch_dtype);
  if (options.attn_implementation.is_string()) overrides["attn_implementation"] = options.attn_implementation.as_string();
  unused = override_config(*config, overrides);
  config->name_or_path = folder.name();
  config->commit_hash = folder.commit_hash();
  return config;
}

ResolvedConfig resolve_config(const std::string& name_or_path, const PretrainedOptions& options) {
  ModelFolder folder(name_or_path, options);
  const ConfigView view = read_config_view(folder, options);
  ResolvedConfig resolved;
  Json unused;
  resolved.config = build_config(view, folder, options, unused);
  resolved.entry = loaded_config(view.type.model_type);
  resolved.unused = to_value(unused).as_object();
  return resolved;
}

}  // namespace backplane
