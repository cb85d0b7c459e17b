#include "auto/model_dispatch.h"

#include <algorithm>

#include "auto/remote_code.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/resolve.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

constexpr std::string_view kFloatingDtypes[] = {"float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"};
// Names of the reference whose kernels are not part of this build.
constexpr std::string_view kOtherAttention[] = {"flash_attention_2", "flash_attention_3", "flex_attention", "paged_attention", "sdpa_paged", "eager_paged"};

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

std::vector<std::string> possible_config_classes(std::string_view auto_name) {
  std::vector<std::string> names;
  for (const auto& type : types_with_config()) {
    if (model_classes(auto_name, type).empty()) continue;
    const auto info = find_type(type);
    if (!contains(names, info->config_class)) names.push_back(info->config_class);
  }
  return names;
}

void check_dtype(const Value& dtype) {
  if (dtype.is_object()) {
    for (const auto& [part, name] : dtype.as_object()) check_dtype(name);
    return;
  }
  if (dtype.is_null()) return;
  const std::string name = dtype.is_string() ? canonical_dtype(dtype.as_string()) : "";
  if (dtype.is_string() && dtype.as_string() == "auto") return;
  if (name.empty()) {
    throw Error(ErrorCode::invalid_value, concat("torch_dtype is ", dtype.to_string(), "; expected 'auto' or one of ",
                                                 join({std::begin(kFloatingDtypes), std::end(kFloatingDtypes)})));
  }
  if (!contains(kFloatingDtypes, name)) {
    throw Error(ErrorCode::invalid_value, concat("torch_dtype is '", name, "', which is not a floating point dtype; no model can be made of it"));
  }
}

void check_attention(const Value& attention) {
  if (attention.is_object()) {
    for (const auto& [part, name] : attention.as_object()) check_attention(name);
    return;
  }
  if (attention.is_null()) return;
  const std::string name = attention.is_string() ? attention.as_string() : attention.to_string();
  if (name == "eager" || name == "sdpa") return;
  if (contains(kOtherAttention, name) || (name.find('/') != std::string::npos && name.find(':') != std::string::npos)) {
    throw Error(ErrorCode::missing_dependency, concat("attn_implementation '", name, "' needs a library that this build does not have; use 'sdpa' or 'eager'"));
  }
  throw Error(ErrorCode::invalid_value, concat("attn_implementation is '", name, "'; expected 'eager' or 'sdpa'"));
}

const Value* find_override(const PretrainedOptions& options, std::string_view key) {
  for (const auto& [name, value] : options.overrides) {
    if (name == key) return &value;
  }
  return nullptr;
}

}  // namespace

void check_auto_class(std::string_view auto_name) {
  const auto& known = KnownModels::auto_classes();
  if (contains(known, auto_name)) return;
  plugin_source();
  auto names = Registry::process().auto_classes();
  if (contains(names, auto_name)) return;
  for (const auto* prefix : {"TF", "Flax"}) {
    if (auto_name.starts_with(prefix) && contains(known, auto_name.substr(std::string_view(prefix).size()))) {
      const auto plain = auto_name.substr(std::string_view(prefix).size());
      throw Error(ErrorCode::unknown_auto_class, concat("'", auto_name, "' does not exist here; load such weights with ", plain, " and ",
                                                        prefix == std::string_view("TF") ? "from_tf" : "from_flax", "=true"));
    }
  }
  names.insert(names.begin(), known.begin(), known.end());
  throw Error(ErrorCode::unknown_auto_class, concat("there is no auto class '", auto_name, "'", suggestion(auto_name, names)));
}

bool is_preprocessing(std::string_view auto_name) {
  return auto_name == Auto::Tokenizer.name || auto_name == Auto::FeatureExtractor.name || auto_name == Auto::ImageProcessor.name ||
         auto_name == Auto::VideoProcessor.name || auto_name == Auto::Processor.name;
}

std::vector<std::string> model_classes(std::string_view auto_name, const std::string& model_type) {
  std::vector<std::string> names;
  if (const KnownModel* known = KnownModels::get().find(model_type); known && known->model_type == model_type) {
    for (const auto name : known->models(auto_name)) names.emplace_back(name);
  }
  std::vector<std::string> registered;
  for (const auto& entry : Registry::process().models(auto_name, model_type)) registered.push_back(entry.class_name);
  // A plugin's own entry replaces the table's, unless it only serves a part of it.
  const bool part = std::all_of(registered.begin(), registered.end(), [&](const auto& name) { return contains(names, name); });
  return part ? names : registered;
}

std::string choose_class(const std::vector<std::string>& classes, const std::vector<std::string>& architectures) {
  if (classes.empty()) return "";
  for (const auto& name : architectures) {
    for (const std::string_view candidate : {std::string_view(name), std::string_view("TF"), std::string_view("Flax")}) {
      const std::string full = candidate == name ? name : concat(candidate, name);
      if (contains(classes, full)) return full;
    }
  }
  return classes.front();
}

ModelChoice choose_model(std::string_view auto_name, const std::string& config_class, const std::vector<std::string>& architectures) {
  for (const auto& type : types_of_class(config_class)) {
    const auto classes = model_classes(auto_name, type);
    if (!classes.empty()) return {type, choose_class(classes, architectures)};
  }
  throw Error(ErrorCode::unrecognized_configuration_class,
              concat(auto_name, " has no model for the configuration class ", config_class, "; expected one of ", join(possible_config_classes(auto_name))));
}

void check_model_options(const PretrainedOptions& options) {
  for (const char* key : {"device_map", "tp_plan", "load_in_8bit", "load_in_4bit"}) {  // AC-108
    const Value* value = find_override(options, key);
    if (value && !value->is_null() && *value != Value(false)) {
      throw Error(ErrorCode::missing_dependency, concat(key, " needs accelerate or bitsandbytes, which are Python libraries; leave it out"));
    }
  }
  check_dtype(options.torch_dtype);
  check_attention(options.attn_implementation);
}

ModelView resolve_model_view(std::string_view auto_name, ModelFolder& folder, const PretrainedOptions& options) {
  check_model_options(options);
  if (auto_name == Auto::WithLMHead.name) {
    warn("AutoModelWithLMHead is deprecated; use AutoModelForCausalLM, AutoModelForMaskedLM or AutoModelForSeq2SeqLM");
  }
  if (const Value* timm = find_override(options, "use_timm_backbone"); auto_name == Auto::Backbone.name && timm && *timm == Value(true)) {
    throw Error(ErrorCode::missing_dependency, "use_timm_backbone needs timm, which is a Python library; use a backbone of a model type");
  }
  ModelView view;
  view.config = read_config_view(folder, options);
  if (const Value* architectures = find_override(options, "architectures"); architectures && architectures->is_list()) {
    view.config.json["architectures"] = to_json(*architectures);
  }
  const auto reference = code_reference(view.config.json, std::string(auto_name), "config.json");
  try {
    view.choice = choose_model(auto_name, view.config.type.config_class, view.config.architectures());
  } catch (const Error&) {
    if (reference) settle_remote_code(folder, options, std::string(auto_name), *reference, false);
    throw;
  }
  if (reference) settle_remote_code(folder, options, std::string(auto_name), *reference, true);
  return view;
}

namespace {

ModelEntry loaded_entry(std::string_view auto_name, const ModelChoice& choice) {
  Registry& registry = Registry::process();
  const auto find = [&]() -> std::optional<ModelEntry> {
    for (auto& entry : registry.models(auto_name, choice.model_type)) {
      if (entry.class_name == choice.class_name) return std::move(entry);
    }
    return std::nullopt;
  };
  auto entry = find();
  if (!entry || !entry->create) {
    const auto config = loaded_config(choice.model_type);
    if (entry && entry->provider && config.provider != entry->provider) plugin_source()->load(registry, *entry->provider);
    entry = find();
  }
  if (entry && entry->create) return *entry;
  const auto provider = registry.config(choice.model_type)->provider;
  throw PluginNotInstalled(provider ? provider->id : choice.model_type,
                           concat("plugin '", provider ? provider->id : choice.model_type, "' ", provider ? provider->version : "",
                                  " does not provide ", choice.class_name, " for ", auto_name));
}

// AC-43: a class that works on the text part of a composite gets that part.
std::shared_ptr<PretrainedConfig> text_part_for(const ModelEntry& entry, const std::shared_ptr<PretrainedConfig>& config) {
  if (entry.config_class.empty() || entry.config_class == config->class_name) return config;
  auto text = config->clone_part("text_config");
  if (!text || text->class_name != entry.config_class) return config;
  text->name_or_path = config->name_or_path;
  text->commit_hash = config->commit_hash;
  return text;
}

}  // namespace

ResolvedModel resolve_model(std::string_view auto_name, const std::string& name_or_path, const PretrainedOptions& options) {
  check_auto_class(auto_name);
  ModelFolder folder(name_or_path, options);
  if (options.config) {  // AC-41
    check_model_options(options);
    const auto entry = resolve_model_class(auto_name, *options.config);
    return {text_part_for(entry, options.config->clone()), entry, options.overrides, folder.files(), folder.gguf_file()};
  }
  const ModelView view = resolve_model_view(auto_name, folder, options);
  Json unused;
  PretrainedOptions of_config = options;
  if (options.torch_dtype == Value("auto")) of_config.torch_dtype = {};  // the file's own dtype is what it asks for
  const auto config = build_config(view.config, folder, of_config, unused);
  unused.erase("torch_dtype");  // the loader's own
  const auto entry = loaded_entry(auto_name, view.choice);
  return {text_part_for(entry, config), entry, to_value(unused).as_object(), folder.files(), folder.gguf_file()};
}

ModelEntry resolve_model_class(std::string_view auto_name, const PretrainedConfig& config) {
  check_auto_class(auto_name);
  const auto choice = choose_model(auto_name, config.class_name, config.architectures.value_or(std::vector<std::string>{}));
  return loaded_entry(auto_name, choice);
}

}  // namespace backplane
