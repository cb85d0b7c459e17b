#include "backplane/config/config_json.h"

#include <algorithm>
#include <charconv>

#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/base/version.h"
#include "field_visitors.h"

namespace backplane {
namespace {

constexpr std::string_view kProblemTypes[] = {"regression", "single_label_classification", "multi_label_classification"};
// Attributes of the reference that are never written, and that a file can therefore not set either.
constexpr std::string_view kNeverWritten[] = {"model_type",          "_commit_hash",        "_auto_class",         "_attn_implementation_internal",
                                              "attn_implementation", "base_model_tp_plan", "base_model_pp_plan", "_attn_implementation_autoset",
                                              "_output_attentions"};
// Attributes of every configuration class of the reference: an argument of that name is taken, and changes nothing.
constexpr std::string_view kClassAttributes[] = {"model_type",       "base_config_key",         "sub_configs", "has_no_defaults_at_init",
                                                 "attribute_map",    "base_model_tp_plan",      "_auto_class", "base_model_pp_plan",
                                                 "keys_to_ignore_at_inference"};

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

int64_t label_id(const std::string& key, const FieldReader& reader, const FieldSource& source) {
  const std::string_view digits = trim(key);
  int64_t id = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    source.fail(reader.path("id2label"), key, "whole numbers as keys");
  }
  return id;
}

std::map<int64_t, Value> read_id2label(const Json& json, const FieldReader& reader, const FieldSource& source) {
  std::map<int64_t, Value> labels;
  if (json.is_null()) return labels;
  if (!json.is_object()) source.fail(reader.path("id2label"), json, "an object");
  for (auto it = json.begin(); it != json.end(); ++it) labels[label_id(it.key(), reader, source)] = to_value(it.value());
  return labels;
}

int64_t read_count(const Json& json, const FieldReader& reader, const FieldSource& source) {
  const Value count = to_value(json);
  if (!count.is_int() || count.as_int() < 0) source.fail(reader.path("num_labels"), json, "a whole number, 0 or more");
  return count.as_int();
}

// AC-17, for a file: the map decides, and the number only where there is none.
void read_labels(PretrainedConfig& config, FieldReader& reader, const FieldSource& source) {
  const Json* id2label = reader.take("id2label");
  const Json* label2id = reader.take("label2id");
  const Json* num_labels = reader.take("num_labels");
  if (label2id && !label2id->is_null() && !label2id->is_object()) source.fail(reader.path("label2id"), *label2id, "an object");
  if (id2label && !id2label->is_null()) {
    config.id2label = read_id2label(*id2label, reader, source);
    config.label2id = label2id ? to_value(*label2id) : Value();
    if (num_labels && !num_labels->is_null() && to_value(*num_labels) != Value(config.num_labels())) {
      warn(concat("num_labels (", to_value(*num_labels).to_string(), ") does not fit id2label (", to_value(*id2label).to_string(),
                  "); the number of labels will be overwritten to ", config.num_labels()));
    }
  } else if (num_labels) {
    const int64_t count = read_count(*num_labels, reader, source);
    config.id2label.clear();
    config.label2id = Value::Object();
    config.set_num_labels(count);
  }
}

void validate(PretrainedConfig& config, const FieldReader& reader, const FieldSource& source) {
  try {
    if (config.problem_type && !contains(kProblemTypes, *config.problem_type)) {
      source.fail(reader.path("problem_type"), *config.problem_type,
                  "'regression', 'single_label_classification' or 'multi_label_classification'");
    }
    config.validate();
  } catch (const Error& error) {
    if (source.name.empty() || std::string_view(error.what()).starts_with(source.name)) throw;
    throw Error(error.code(), concat(source.name, ": ", reader.path(""), error.what()));
  }
}

// A whole configuration, over the defaults in `config`.
void read_whole(PretrainedConfig& config, const Json& json, const FieldSource& source, const std::string& prefix) {
  if (!json.is_object()) {
    throw Error(source.code, concat(source.name, source.name.empty() || prefix.empty() ? "" : ": ", prefix.substr(0, prefix.empty() ? 0 : prefix.size() - 1),
                                    " is ", to_value(json).to_string(), "; expected an object"));
  }
  FieldLister lister;
  config.fields(lister);
  FieldReader reader(json, source, prefix);
  reader.set_aliases(std::move(lister.aliases));
  config.fields(reader);
  read_labels(config, reader, source);
  if (config.torch_dtype) {
    const std::string name = canonical_dtype(*config.torch_dtype);
    if (name.empty()) source.fail(reader.path("torch_dtype"), *config.torch_dtype, "the name of a dtype, as 'float32' or 'bfloat16'");
    config.torch_dtype = name;
  }
  for (const char* key : {"name_or_path", "_name_or_path"}) {
    if (const Json* name = reader.take(key); name && name->is_string()) config.name_or_path = name->get<std::string>();
  }
  if (const Json* asked = reader.take("_attn_implementation"); asked && asked->is_string()) {
    config.attn_implementation_asked = asked->get<std::string>();
  }
  if (const Json* device = reader.take("xla_device"); device && !device->is_null()) {
    warn(concat(source.name, ": xla_device has no effect and can be removed"));
  }
  for (const auto& [key, value] : reader.left()) {
    if (!contains(kNeverWritten, key)) set(config.extra, key, to_value(*value));
  }
  validate(config, reader, source);
}

Json write_whole(PretrainedConfig& config) {
  FieldWriter writer;
  config.fields(writer);
  Json id2label = Json::object();
  for (const auto& [id, label] : config.id2label) id2label[std::to_string(id)] = to_json(label);
  writer.put("id2label", std::move(id2label));
  writer.put("label2id", to_json(config.label2id));
  for (const auto& [key, value] : config.extra) writer.put(key.c_str(), to_json(value));
  writer.put("_name_or_path", config.name_or_path);
  writer.put("model_type", config.model_type_name);
  return writer.take();
}

// A part's keys that differ from the base class's or its own class's defaults; its type always.
Json part_diff(const PretrainedConfig& part, const Json& written, const Json& base_defaults) {
  const Json defaults = write_config(*part.make_default());
  Json diff = Json::object();
  for (auto it = written.begin(); it != written.end(); ++it) {
    if (!base_defaults.contains(it.key()) || !defaults.contains(it.key()) || it.value() != defaults[it.key()]) diff[it.key()] = it.value();
  }
  diff["model_type"] = part.model_type_name;
  return diff;
}

struct BaseConfig : PretrainedConfig {
  static constexpr const char* model_type = "";
};

}  // namespace

void FieldReader::nested(const char* key, PretrainedConfig& member, void (*reset)(PretrainedConfig&)) {
  const Json* found = take(key);
  if (!found && !make_absent_) return;
  reset(member);
  read_whole(member, found && !found->is_null() ? *found : Json::object(), source_, path(key) + ".");
}

void FieldReader::any(const char* key, std::shared_ptr<PretrainedConfig>& member, const char* default_type) {
  const Json* found = take(key);
  if (!found && !make_absent_) return;
  if (!found || found->is_null()) {
    member = nullptr;
    if (!default_type) return;
    member = make_config(default_type);
    read_whole(*member, Json::object(), source_, path(key) + ".");
    return;
  }
  if (!found->is_object()) source_.fail(path(key), *found, "an object");
  if (!make_absent_ && member) {  // an override replaces, and keeps the class (AC-16)
    member = member->make_default();
  } else {
    const auto type = found->find("model_type");
    if (type != found->end() && !type->is_string()) source_.fail(path(key) + ".model_type", *type, "a text");
    if (type == found->end() && !default_type) source_.fail(path(key), *found, "an object with a model_type");
    member = make_config(type == found->end() ? std::string(default_type) : type->get<std::string>());
  }
  read_whole(*member, *found, source_, path(key) + ".");
}

void read_config(PretrainedConfig& config, const Json& json, const std::string& name) {
  read_whole(config, json, {name, ErrorCode::bad_config}, "");
}

Json write_config(const PretrainedConfig& config) {
  Json json = write_whole(const_cast<PretrainedConfig&>(config));  // the writer only looks
  FieldLister lister;
  const_cast<PretrainedConfig&>(config).fields(lister);
  for (const auto& [key, part] : lister.configs) json[key].erase("transformers_version");
  return json;
}

Json write_config_diff(const PretrainedConfig& config) {
  const Json written = write_config(config);
  static const Json base_defaults = write_config(*make_config<BaseConfig>());
  Json class_defaults = Json::object();
  try {
    class_defaults = write_config(*config.make_default());
  } catch (const Error&) {  // a composite has no defaults (AC-156)
  }
  FieldLister lister;
  const_cast<PretrainedConfig&>(config).fields(lister);
  Json diff = Json::object();
  for (auto it = written.begin(); it != written.end(); ++it) {
    const std::string& key = it.key();
    const auto part = std::find_if(lister.configs.begin(), lister.configs.end(), [&](const auto& other) { return other.first == key; });
    if (part != lister.configs.end()) {
      diff[key] = part_diff(*part->second, it.value(), base_defaults);
    } else if (!base_defaults.contains(key) || key == "model_type" || it.value() != base_defaults[key] ||
               (class_defaults.contains(key) && it.value() != class_defaults[key])) {
      diff[key] = it.value();
    }
  }
  diff.erase("_name_or_path");
  diff.erase("transformers_weights");
  diff["transformers_version"] = kReferenceVersion;
  return diff;
}

std::string config_to_json_string(const PretrainedConfig& config, bool diff) {
  Json json = diff ? write_config_diff(config) : write_config(config);
  json["transformers_version"] = kReferenceVersion;
  return python_dumps(json, 2, true, true) + "\n";
}

Json override_config(PretrainedConfig& config, const Json& overrides) {
  const FieldSource source{"", ErrorCode::invalid_value};
  FieldLister lister;
  config.fields(lister);
  FieldReader reader(overrides, source);
  reader.set_aliases(std::move(lister.aliases));
  reader.make_absent(false);

  // AC-20: the keyword is heard, unless the file holds the private key.
  if (const Json* asked = reader.take("attn_implementation"); asked && asked->is_string() && !config.attn_implementation_asked) {
    config.attn_implementation_asked = asked->get<std::string>();
  }
  if (const Json* asked = reader.take("_attn_implementation"); asked && asked->is_string()) {
    config.attn_implementation_asked = asked->get<std::string>();
  }
  if (const Json* wanted = reader.take("output_attentions"); wanted && *wanted == true) {  // AC-19
    if (config.attn_implementation_asked && *config.attn_implementation_asked != "eager") {
      throw Error(ErrorCode::invalid_value, concat("output_attentions is not supported when attn_implementation is '",
                                                   *config.attn_implementation_asked, "'; set it to 'eager'"));
    }
  }
  const Json* id2label = reader.take("id2label");
  const Json* num_labels = reader.take("num_labels");
  if (id2label && num_labels) {
    const int64_t count = read_count(*num_labels, reader, source);
    const auto labels = read_id2label(*id2label, reader, source);
    if (static_cast<int64_t>(labels.size()) != count) {
      throw Error(ErrorCode::invalid_value, concat("num_labels (", count, ") does not fit id2label (", to_value(*id2label).to_string(),
                                                   "); leave one of them out"));
    }
  }
  if (id2label) config.id2label = read_id2label(*id2label, reader, source);
  if (num_labels) config.set_num_labels(read_count(*num_labels, reader, source));
  if (const Json* label2id = reader.take("label2id")) {
    if (!label2id->is_object() && !label2id->is_null()) source.fail("label2id", *label2id, "an object");
    config.label2id = to_value(*label2id);
  }
  for (const char* key : {"name_or_path", "_name_or_path"}) {
    if (const Json* name = reader.take(key); name && name->is_string()) config.name_or_path = name->get<std::string>();
  }
  config.fields(reader);

  Json unused = Json::object();
  if (const Json* dtype = reader.take("torch_dtype")) unused["torch_dtype"] = *dtype;  // AC-13
  for (const auto& [key, value] : reader.left()) {
    if (config.find_extra(key)) {
      set(config.extra, key, to_value(*value));
    } else if (!contains(kClassAttributes, key)) {
      unused[key] = *value;
    }
  }
  validate(config, reader, source);
  return unused;
}

std::vector<std::string> config_keys(const PretrainedConfig& config) {
  FieldLister lister;
  const_cast<PretrainedConfig&>(config).fields(lister);
  lister.keys.insert(lister.keys.end(), {"id2label", "label2id"});
  return lister.keys;
}

std::string canonical_dtype(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kShort[] = {
      {"float", "float32"}, {"double", "float64"},   {"half", "float16"},      {"int", "int32"},         {"long", "int64"},
      {"short", "int16"},   {"cfloat", "complex64"}, {"cdouble", "complex128"}, {"chalf", "complex32"}};
  constexpr std::string_view kNames[] = {
      "float32",       "float64",     "float16",     "bfloat16",       "int8",            "int16",           "int32",     "int64",
      "uint8",         "uint16",      "uint32",      "uint64",         "bool",            "complex32",       "complex64", "complex128",
      "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "quint8",    "qint8",
      "qint32",        "quint4x2",    "quint2x4"};
  for (const auto& [alias, full] : kShort) {
    if (alias == name) return std::string(full);
  }
  return contains(kNames, name) ? std::string(name) : std::string();
}

}  // namespace backplane
