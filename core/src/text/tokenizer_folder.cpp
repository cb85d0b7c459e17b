// A tokenizer's folder, as transformers 4.53 reads and writes it.
#include <algorithm>
#include <filesystem>

#include "backplane/base/files.h"
#include "text/tokenizer_impl.h"

namespace backplane {
namespace {

constexpr const char* kSpecialNames[] = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"};
// transformers writes 10^30 where there is no limit; what is larger than any text is none.
constexpr double kLargeLength = 1e15;

Json read_optional(const std::string& folder, const char* name) {
  const std::string path = concat(folder, "/", name);
  return file_exists(path) ? read_json_file(path, ErrorCode::bad_tokenizer, {.bytes = limits::kTokenizerBytes}) : Json::object();
}

// "text" or {"content": "text", …}
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value.at("content").is_string()) return value.at("content").get<std::string>();
  return std::nullopt;
}

Side read_side(const Json& config, const char* key, Side absent) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return absent;
  if (*found == "left") return Side::left;
  if (*found == "right") return Side::right;
  throw Error(ErrorCode::bad_tokenizer, concat("tokenizer_config.json: ", key, " is ", found->dump(), ", expected \"left\" or \"right\""));
}

void read_chat_templates(const std::string& folder, const Json& config, std::map<std::string, std::string>& templates) {
  if (const auto found = config.find("chat_template"); found != config.end()) {
    if (found->is_string()) {
      templates["default"] = found->get<std::string>();
    } else if (found->is_array()) {
      for (const Json& entry : *found) {
        const text::Fields f(entry, "tokenizer_config.json: chat_template");
        templates[f.text("name")] = f.text("template");
      }
    } else if (!found->is_null()) {
      throw Error(ErrorCode::bad_tokenizer, "tokenizer_config.json: chat_template is neither a text nor a list");
    }
  }
  if (folder.empty()) return;
  if (const std::string path = folder + "/chat_template.jinja"; file_exists(path))
    templates["default"] = read_file(path, limits::kConfigBytes);
  const std::string more = folder + "/additional_chat_templates";
  if (!folder_exists(more)) return;
  for (const auto& entry : std::filesystem::directory_iterator(more))
    if (entry.path().extension() == ".jinja") templates[entry.path().stem().string()] = read_file(entry.path().string(), limits::kConfigBytes);
}

// Sets what tokenizer_config.json and the files beside it say about a tokenizer.
void apply_config(Tokenizer::Impl& impl, const Json& special_map, const Json& added) {
  const Json& config = impl.config;
  const auto special_value = [&](const std::string& key) -> const Json* {
    for (const Json* source : {&std::as_const(config), &special_map})
      if (const auto found = source->find(key); found != source->end() && !found->is_null()) return &*found;
    return nullptr;
  };

  std::vector<AddedToken> tokens;
  if (const auto found = config.find("added_tokens_decoder"); found != config.end() && found->is_object()) {
    std::map<int64_t, AddedToken> by_id;
    for (const auto& [key, value] : found->items()) {
      const std::string where = concat("tokenizer_config.json: added_tokens_decoder.", key);
      int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size() || id < 0) text::bad(where, "the key is no id");
      by_id[id] = text::read_added_token(value, where);
    }
    for (const auto& [id, token] : by_id) tokens.push_back(token);
  } else {
    std::vector<std::pair<int64_t, std::string>> by_id;
    for (const auto& [token, id] : added.items())
      if (id.is_number_integer()) by_id.emplace_back(id.get<int64_t>(), token);
    std::sort(by_id.begin(), by_id.end());
    for (const auto& [id, token] : by_id) tokens.push_back({.content = token, .normalized = false});
  }

  const auto known = [&](const std::string& token) {
    return impl.added.find(token) != text::kNoId ||
           std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& other) { return other.content == token; });
  };
  const auto add_special = [&](const Json& value) -> std::optional<std::string> {
    const auto content = token_text(value);
    if (!content) return std::nullopt;
    if (!known(*content)) {
      AddedToken token{.content = *content, .normalized = false, .special = true};
      if (value.is_object()) token = text::read_added_token(value, "tokenizer_config.json");
      token.special = true;
      tokens.push_back(token);
    }
    return content;
  };
  for (const char* name : kSpecialNames) {
    const Json* value = special_value(concat(name, "_token"));
    if (const auto content = value ? add_special(*value) : std::nullopt) impl.special_tokens.emplace_back(name, *content);
  }
  if (const auto found = config.find("extra_special_tokens"); found != config.end() && found->is_object()) {
    for (const auto& [key, value] : found->items()) {
      const auto content = add_special(value);
      if (content) impl.special_tokens.emplace_back(key.ends_with("_token") ? key.substr(0, key.size() - 6) : key, *content);
    }
  }
  if (const Json* list = special_value("additional_special_tokens"); list && list->is_array())
    for (const Json& value : *list)
      if (const auto content = add_special(value)) impl.additional_special_tokens.push_back(*content);
  impl.added.add(tokens, impl.model->vocabulary(), impl.normalizer.get());

  if (const auto found = config.find("model_max_length"); found != config.end() && found->is_number()) {
    const double length = found->get<double>();
    if (length >= 0 && length < kLargeLength) impl.model_max_length = static_cast<int64_t>(length);
  }
  if (const auto found = config.find("tokenizer_class"); found != config.end() && found->is_string()) impl.tokenizer_class = found->get<std::string>();
  text::apply_class_defaults(impl.tokenizer_class, impl);
  impl.padding_side = read_side(config, "padding_side", impl.padding_side);
  impl.truncation_side = read_side(config, "truncation_side", impl.truncation_side);
  if (const auto found = config.find("model_input_names"); found != config.end() && found->is_array()) {
    impl.model_input_names.clear();
    for (const Json& name : *found)
      if (name.is_string()) impl.model_input_names.push_back(name.get<std::string>());
  }
  if (const auto found = config.find("clean_up_tokenization_spaces"); found != config.end() && found->is_boolean())
    impl.clean_up_tokenization_spaces = found->get<bool>();
}

}  // namespace

std::shared_ptr<Tokenizer> Tokenizer::from_folder(const std::string& folder, const TokenizerOptions& options) {
  const std::string path = folder + "/tokenizer.json";
  if (!file_exists(path))
    throw Error(ErrorCode::file_not_found, concat("no tokenizer.json in '", folder, "'"));
  const auto mapped = MappedFile::open(path);
  const std::string_view json(reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size());
  auto impl = text::read_tokenizer_json(json, path);
  impl->config = read_optional(folder, "tokenizer_config.json");
  for (const auto& [key, value] : options.config) impl->config[key] = parse_json(value, key, ErrorCode::bad_tokenizer);
  read_chat_templates(folder, impl->config, impl->chat_templates);
  apply_config(*impl, read_optional(folder, "special_tokens_map.json"), read_optional(folder, "added_tokens.json"));
  return std::shared_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

std::shared_ptr<Tokenizer> Tokenizer::from_texts(std::string_view tokenizer_json, std::string_view tokenizer_config_json, const std::string& name) {
  auto impl = text::read_tokenizer_json(tokenizer_json, name);
  impl->config = parse_json(tokenizer_config_json, name, ErrorCode::bad_tokenizer);
  read_chat_templates("", impl->config, impl->chat_templates);
  apply_config(*impl, Json::object(), Json::object());
  return std::shared_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

void Tokenizer::save_pretrained(const std::string& folder) const {
  std::filesystem::create_directories(folder);
  write_file(folder + "/tokenizer.json", to_json());
  Json config = impl_->config, map = Json::object(), decoder = Json::object();
  for (const auto& [id, token] : impl_->added.tokens())
    decoder[std::to_string(id)] = {{"content", token.content},       {"lstrip", token.lstrip},           {"normalized", token.normalized},
                                   {"rstrip", token.rstrip}, {"single_word", token.single_word}, {"special", token.special}};
  config["added_tokens_decoder"] = decoder;
  for (const auto& [name, token] : impl_->special_tokens) config[name + "_token"] = map[name + "_token"] = token;
  if (!impl_->additional_special_tokens.empty())
    config["additional_special_tokens"] = map["additional_special_tokens"] = impl_->additional_special_tokens;
  config.erase("chat_template");
  const auto& templates = impl_->chat_templates;
  if (templates.size() == 1 && templates.count("default")) {
    config["chat_template"] = templates.at("default");
  } else if (!templates.empty()) {
    config["chat_template"] = Json::array();
    for (const auto& [name, body] : templates) config["chat_template"].push_back({{"name", name}, {"template", body}});
  }
  write_file(folder + "/tokenizer_config.json", python_dumps(config, 2, false) + "\n");
  write_file(folder + "/special_tokens_map.json", python_dumps(map, 2, false) + "\n");
}

}  // namespace backplane
