// tokenizer.json: reading and writing.
#include "backplane/base/log.h"
#include "text/tokenizer_impl.h"

namespace backplane {
namespace text {
namespace {

Side read_direction(const Fields& f) {
  const std::string name = f.text("direction", "Right");
  if (name == "Right") return Side::right;
  if (name == "Left") return Side::left;
  bad(f.path("direction"), concat("found '", name, "', expected Left or Right"));
}

std::optional<TruncationSettings> read_truncation(const Json& json, const std::string& where) {
  if (json.is_null()) return std::nullopt;
  const Fields f(json, where);
  TruncationSettings settings;
  settings.direction = read_direction(f);
  settings.max_length = static_cast<uint64_t>(f.number("max_length", 0, INT64_MAX));
  settings.stride = static_cast<uint64_t>(f.number("stride", 0, INT64_MAX));
  const std::string strategy = f.text("strategy");
  if (strategy == "LongestFirst") settings.strategy = Truncation::longest_first;
  else if (strategy == "OnlyFirst") settings.strategy = Truncation::only_first;
  else if (strategy == "OnlySecond") settings.strategy = Truncation::only_second;
  else bad(f.path("strategy"), concat("unknown strategy '", strategy, "'"));
  return settings;
}

std::optional<PaddingSettings> read_padding(const Json& json, const std::string& where) {
  if (json.is_null()) return std::nullopt;
  const Fields f(json, where);
  PaddingSettings settings;
  settings.direction = read_direction(f);
  const Json& strategy = f.at("strategy");
  if (strategy.is_object()) settings.length = static_cast<uint64_t>(Fields(strategy, f.path("strategy")).number("Fixed", 0, 1 << 30));
  else if (strategy != "BatchLongest") bad(f.path("strategy"), "expected BatchLongest or {\"Fixed\": length}");
  settings.multiple_of = static_cast<uint64_t>(f.number("pad_to_multiple_of", 0, 1 << 30, 0));
  settings.id = f.number("pad_id", 0, UINT32_MAX);
  settings.type_id = f.number("pad_type_id", 0, UINT32_MAX);
  settings.token = f.text("pad_token");
  return settings;
}

}  // namespace

AddedToken read_added_token(const Json& json, const std::string& where) {
  const Fields f(json, where);
  AddedToken token;
  token.content = f.text("content");
  token.single_word = f.flag("single_word", false);
  token.lstrip = f.flag("lstrip", false);
  token.rstrip = f.flag("rstrip", false);
  token.special = f.flag("special", false);
  token.normalized = f.flag("normalized", !token.special);
  return token;
}

std::unique_ptr<Tokenizer::Impl> read_tokenizer_json(std::string_view json, const std::string& name) {
  if (json.size() > limits::kTokenizerBytes)
    throw Error(ErrorCode::limit_exceeded, concat(name, ": ", json.size(), " bytes, at most ", limits::kTokenizerBytes, " are read"));
  JsonReader reader(json, name);
  std::map<std::string, std::string_view> parts;
  const auto parsed = [&](const char* key) {
    const auto found = parts.find(key);
    if (found == parts.end()) return Json();
    return parse_json(found->second, concat(name, ": ", key), ErrorCode::bad_tokenizer, {.bytes = limits::kTokenizerBytes});
  };
  auto impl = std::make_unique<Tokenizer::Impl>();
  impl->name = name;
  reader.expect('{');
  std::string_view model;
  for (bool first = true; reader.more('}', first); first = false) {
    const std::string key(reader.string());
    reader.expect(':');
    if (key != "model") parts[key] = reader.skip();
    else if (parts.count("pre_tokenizer")) impl->model = read_model(reader, ends_with_byte_level(parsed("pre_tokenizer")));
    else model = reader.skip();
  }
  reader.expect_end();
  const Json pre_tokenizer = parsed("pre_tokenizer");
  if (!impl->model) {
    if (model.empty()) bad(name, "key 'model' is missing");
    JsonReader late(model, name);
    impl->model = read_model(late, ends_with_byte_level(pre_tokenizer));
  }
  impl->set_normalizer(parsed("normalizer"));
  // Only a byte-pair model takes bytes; the others see GPT-2's alphabet.
  impl->set_pre_tokenizer(pre_tokenizer, impl->model->vocabulary().byte_level());
  impl->set_post_processor(parsed("post_processor"));
  impl->decoder_json = parsed("decoder");
  impl->decoder = make_decoder(impl->decoder_json, concat(name, ": decoder"));
  impl->truncation_json = parsed("truncation");
  impl->truncation = read_truncation(impl->truncation_json, concat(name, ": truncation"));
  impl->padding_json = parsed("padding");
  impl->padding = read_padding(impl->padding_json, concat(name, ": padding"));

  const Json added = parsed("added_tokens");
  if (!added.is_null() && !added.is_array()) bad(concat(name, ": added_tokens"), "expected a list");
  std::vector<AddedToken> tokens;
  for (size_t i = 0; i < added.size(); ++i) tokens.push_back(read_added_token(added[i], concat(name, ": added_tokens[", i, "]")));
  impl->added.add(tokens, impl->model->vocabulary(), impl->normalizer.get());
  // As in the reference the ids follow from the vocabulary; the file should agree.
  for (size_t i = 0; i < added.size(); ++i) {
    const int64_t id = Fields(added[i], concat(name, ": added_tokens[", i, "]")).number("id", 0, UINT32_MAX);
    const uint32_t given = impl->added.find(tokens[i].content);
    if (given != kNoId && given != id) warn(concat(name, ": the added token '", tokens[i].content, "' has id ", id, " in the file and ", given, " by its place"));
  }
  return impl;
}

}  // namespace text

std::string Tokenizer::to_json(bool pretty) const {
  using text::write_line;
  using text::write_string;
  const Impl& t = *impl_;
  if (t.slow) throw Error(ErrorCode::invalid_value, concat(t.tokenizer_class, " has no tokenizer.json: it is a class that transformers has in Python"));
  const int inner = pretty ? 1 : -1;
  const char* colon = pretty ? ": " : ":";
  std::string out = "{";
  const auto key = [&](const char* name) {
    if (out.size() > 1) out += ',';
    write_line(out, inner);
    out += concat("\"", name, "\"", colon);
  };
  const auto value = [&](const Json& json) {
    // Lines of an inner object are moved in by one level.
    std::string text = pretty ? json.dump(2) : json.dump();
    for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 3)) text.insert(at + 1, "  ");
    out += text;
  };
  key("version");
  out += "\"1.0\"";
  key("truncation");
  value(t.truncation_json);
  key("padding");
  value(t.padding_json);
  key("added_tokens");
  Json added = Json::array();
  for (const auto& [id, token] : t.added.tokens())
    added.push_back({{"id", id}, {"content", token.content}, {"single_word", token.single_word}, {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip}, {"normalized", token.normalized}, {"special", token.special}});
  value(added);
  key("normalizer");
  value(t.normalizer_json);
  key("pre_tokenizer");
  value(t.pre_tokenizer_json);
  key("post_processor");
  value(t.post_processor_json);
  key("decoder");
  value(t.decoder_json);
  key("model");
  t.model->write_json(out, inner);
  write_line(out, pretty ? 0 : -1);
  return out + "}";
}

}  // namespace backplane
