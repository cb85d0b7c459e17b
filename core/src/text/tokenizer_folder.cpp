// A tokenizer's folder, as transformers 4.53 reads and writes it.
#include <algorithm>
#include <filesystem>

#include "backplane/base/files.h"
#include "text/tokenizer_classes.h"
#include "text/tokenizer_impl.h"

namespace backplane {
namespace {

// transformers writes 10^30 where there is no limit; what is larger than any text is none.
constexpr double kLargeLength = 1e15;

Json read_optional(const std::string& folder, const char* name) {
  const std::string path = concat(folder, "/", name);
  return file_exists(path) ? read_json_file(path, ErrorCode::bad_tokenizer, {.bytes = limits::kTokenizerBytes}) : Json::object();
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

// Changes parts of the engine where the fast class's arguments say otherwise than tokenizer.json.
void apply_fast_arguments(Tokenizer::Impl& impl, const text::ClassBuilder& b) {
  Json normalizer = impl.normalizer_json;
  if (normalizer.is_object() && normalizer.value("type", "") == "BertNormalizer" && b.row.updates == text::FastUpdates::bert_normalizer) {
    const Json strip = b.has("strip_accents") ? b.config().at("strip_accents") : Json();
    Json wanted = normalizer;
    wanted["lowercase"] = b.flag("do_lower_case", true);
    wanted["strip_accents"] = strip;
    wanted["handle_chinese_chars"] = b.flag("tokenize_chinese_chars", true);
    if (wanted != normalizer) impl.set_normalizer(wanted);
  }
  const auto is_byte_level = [&] { return impl.model->vocabulary().byte_level(); };
  const bool prefix = b.flag("add_prefix_space", false);
  if (Json state = impl.pre_tokenizer_json; state.is_object() && state.contains("add_prefix_space") && state.at("add_prefix_space") != prefix) {
    state["add_prefix_space"] = prefix;
    impl.set_pre_tokenizer(state, is_byte_level());
  }
  if (b.row.updates == text::FastUpdates::trim_offsets && impl.post_processor_json.is_object()) {
    Json state = impl.post_processor_json;
    if (state.contains("add_prefix_space")) state["add_prefix_space"] = prefix;
    if (state.contains("trim_offsets")) state["trim_offsets"] = b.flag("trim_offsets", true);
    if (state != impl.post_processor_json) impl.set_post_processor(state);
  }
}

void read_common(Tokenizer::Impl& impl) {
  const Json& config = impl.config;
  if (const auto found = config.find("model_max_length"); found != config.end() && found->is_number()) {
    const double length = found->get<double>();
    if (length >= 0 && length < kLargeLength) impl.model_max_length = static_cast<int64_t>(length);
  }
  impl.padding_side = read_side(config, "padding_side", impl.padding_side);
  impl.truncation_side = read_side(config, "truncation_side", impl.truncation_side);
  if (const auto found = config.find("model_input_names"); found != config.end() && found->is_array()) {
    impl.model_input_names.clear();
    for (const Json& name : *found)
      if (name.is_string()) impl.model_input_names.push_back(name.get<std::string>());
  }
  const auto flag = [&](const char* key, bool& value) {
    if (const auto found = config.find(key); found != config.end() && found->is_boolean()) value = found->get<bool>();
  };
  flag("clean_up_tokenization_spaces", impl.clean_up_tokenization_spaces);
  flag("split_special_tokens", impl.split_special_tokens);
  if (const auto found = config.find("pad_token_type_id"); found != config.end() && found->is_number_integer()) impl.pad_token_type_id = found->get<int64_t>();
}

// The class, its special tokens and defaults, around the engine in `impl` or, where there is none, a Python class's model.
void configure(Tokenizer::Impl& impl, const std::string& class_name, const text::TokenizerArguments& arguments) {
  static constexpr text::TokenizerClass kPlain{.stem = "PreTrained", .kinds = text::TokenizerClass::Kinds::fast};
  const text::TokenizerClass* row = text::find_tokenizer_class(class_name);
  if (!row) row = &kPlain;
  const bool fast = impl.model != nullptr;
  impl.tokenizer_class = class_name;
  text::ClassBuilder builder(*row, arguments, impl);
  text::apply_class(*row, fast, builder);
  read_common(impl);
  if (!fast) {
    row->build(builder);
    impl.slow = std::make_unique<text::SlowTokenizer>(builder.model, impl);
    impl.slow->start(builder.added, builder.special);
    for (const AddedToken& token : builder.later) impl.slow->add_tokens({token}, false);
    if (builder.target_model) {
      impl.slow_target = std::make_unique<text::SlowTokenizer>(builder.target_model, impl);
      impl.slow_target->start(impl.slow->added(), {});
    }
  } else {
    if (row->fast) row->fast(builder);
    if (impl.layout.single.find("lang") != std::string::npos) {
      impl.src_lang = builder.text("src_lang", std::string(row->language));
      impl.tgt_lang = builder.text("tgt_lang");
    }
    std::vector<AddedToken> tokens;
    for (const auto& [id, token] : builder.added) tokens.push_back(token);
    for (const AddedToken& token : builder.special) {
      const bool known = impl.added.find(token.content) != text::kNoId ||
                         std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& other) { return other.content == token.content; });
      if (!known) tokens.push_back(token);
    }
    impl.added.add(tokens, impl.model->vocabulary(), impl.normalizer.get());
    apply_fast_arguments(impl, builder);
    if (row->updates == text::FastUpdates::template_of_layout) impl.set_post_processor(text::template_of(impl.layout, impl));
  }
  const bool has_languages = impl.layout.single.find("lang") != std::string::npos;
  if (has_languages) {
    impl.source_template = impl.target_template = impl.layout;
    if (!row->target.empty()) {
      impl.target_template.single = row->target;
      impl.target_template.pair = row->target_pair;
    }
    impl.apply_languages();
  }
}

bool is_fast_name(std::string_view name) { return name.ends_with("Fast"); }

}  // namespace

std::unique_ptr<Tokenizer::Impl> text::make_slow(const std::string& class_name, const TokenizerArguments& arguments) {
  auto impl = std::make_unique<Tokenizer::Impl>();
  impl->name = arguments.folder;
  impl->config = arguments.config;
  configure(*impl, class_name, arguments);
  return impl;
}

std::shared_ptr<Tokenizer> Tokenizer::from_folder(const std::string& folder, const TokenizerOptions& options) {
  Json config = read_optional(folder, "tokenizer_config.json");
  for (const auto& [key, value] : options.config) config[key] = parse_json(value, key, ErrorCode::bad_tokenizer);
  const auto found = config.find("tokenizer_class");
  std::string class_name = options.tokenizer_class;
  if (class_name.empty() && found != config.end() && found->is_string()) class_name = found->get<std::string>();
  const text::TokenizerClass* row = text::find_tokenizer_class(class_name);
  using Kinds = text::TokenizerClass::Kinds;
  const std::string path = folder + "/tokenizer.json";
  const bool whole = file_exists(path);
  // Without a word from the caller the fast class is taken, as AutoTokenizer does.
  if (options.tokenizer_class.empty() && row && row->kinds != Kinds::slow && !is_fast_name(class_name)) class_name += "Fast";
  bool fast = !row || !row->build || row->kinds == Kinds::fast || (row->kinds == Kinds::both && is_fast_name(class_name));
  // tokenizer.json in place of a Python class's files, where these are missing.
  if (!fast && whole && !row->file.empty() && !file_exists(concat(folder, "/", row->file))) fast = true;
  text::TokenizerArguments arguments = text::read_tokenizer_arguments(folder, config, read_optional(folder, "special_tokens_map.json"), read_optional(folder, "added_tokens.json"));

  std::unique_ptr<Tokenizer::Impl> impl;
  if (!fast) {
    impl = text::make_slow(class_name, arguments);
    impl->config = std::move(config);
    read_chat_templates(folder, impl->config, impl->chat_templates);
    return std::shared_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
  }
  if (const auto converted = row && row->build ? text::convert_to_fast(*row, class_name, arguments, whole) : std::nullopt) {
    impl = text::read_tokenizer_json(*converted, concat(folder, "/", row->file));
  } else if (whole) {
    const auto mapped = MappedFile::open(path);
    impl = text::read_tokenizer_json({reinterpret_cast<const char*>(mapped->bytes().data()), mapped->bytes().size()}, path);
  } else {
    throw Error(ErrorCode::file_not_found, concat("no tokenizer.json in '", folder, "'", row && row->build ? concat(" and no ", row->file, " to make one from") : ""));
  }
  impl->config = std::move(config);
  read_chat_templates(folder, impl->config, impl->chat_templates);
  configure(*impl, class_name, arguments);
  return std::shared_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

std::shared_ptr<Tokenizer> Tokenizer::from_texts(std::string_view tokenizer_json, std::string_view tokenizer_config_json, const std::string& name) {
  auto impl = text::read_tokenizer_json(tokenizer_json, name);
  impl->config = parse_json(tokenizer_config_json, name, ErrorCode::bad_tokenizer);
  read_chat_templates("", impl->config, impl->chat_templates);
  std::string class_name = impl->config.contains("tokenizer_class") && impl->config.at("tokenizer_class").is_string() ? impl->config.at("tokenizer_class").get<std::string>() : "";
  configure(*impl, class_name, text::read_tokenizer_arguments("", impl->config, Json::object(), Json::object()));
  return std::shared_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

void Tokenizer::save_pretrained(const std::string& folder) const {
  std::filesystem::create_directories(folder);
  if (!impl_->slow) write_file(folder + "/tokenizer.json", to_json());
  Json config = impl_->config, map = Json::object(), decoder = Json::object();
  for (const auto& [id, token] : added_tokens())
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
