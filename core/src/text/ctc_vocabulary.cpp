#include "backplane/text/ctc_vocabulary.h"

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "text/unicode.h"

namespace backplane {
namespace {

// An optional file of the folder; an object, or null where it is absent.
Json object_of(const std::string& folder, const char* file) {
  const std::string path = concat(folder, "/", file);
  if (!file_exists(path)) return nullptr;
  Json json = read_json_file(path, ErrorCode::bad_tokenizer);
  if (!json.is_object()) throw Error(ErrorCode::bad_tokenizer, concat(path, " is no JSON object"));
  return json;
}

// A special token as a text or as an AddedToken; `token` stays where the key is absent or null.
void take_token(const Json& json, const char* key, std::string& token) {
  if (!json.is_object() || !json.contains(key) || json[key].is_null()) return;
  const Json& value = json[key].is_object() && json[key].contains("content") ? json[key]["content"] : json[key];
  if (!value.is_string()) throw Error(ErrorCode::bad_tokenizer, concat("tokenizer_config.json: ", key, " is no text"));
  token = value.get<std::string>();
}

std::string lowered(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    uint32_t length = 0;
    text::append(result, text::lowercase(text::decode(text.data() + i, length)));
    i += length;
  }
  return result;
}

}  // namespace

CtcVocabulary CtcVocabulary::from_folder(const std::string& folder) {
  const Json config = object_of(folder, "tokenizer_config.json");
  Json vocabulary = object_of(folder, "vocab.json");
  if (vocabulary.is_null()) throw Error(ErrorCode::file_not_found, concat("no vocab.json in ", folder));
  CtcVocabulary result;
  std::string language;
  take_token(config, "target_lang", language);
  if (!language.empty()) {
    if (!vocabulary.contains(language) || !vocabulary[language].is_object())
      throw Error(ErrorCode::bad_tokenizer, concat("vocab.json has no vocabulary for target_lang '", language, "'"));
    vocabulary = Json(vocabulary[language]);
  }
  const auto take_all = [&](const Json& tokens, const char* file) {
    for (const auto& [token, id] : tokens.items()) {
      if (!id.is_number_integer()) {
        throw Error(ErrorCode::bad_tokenizer,
                    concat(file, ": the id of '", token, "' is no whole number",
                           id.is_object() ? "; several languages need target_lang in tokenizer_config.json" : ""));
      }
      result.tokens_[id.get<int64_t>()] = token;
    }
  };
  take_all(vocabulary, "vocab.json");
  if (const Json added = object_of(folder, "added_tokens.json"); !added.is_null()) take_all(added, "added_tokens.json");
  for (const Json& file : {object_of(folder, "special_tokens_map.json"), config}) {
    take_token(file, "pad_token", result.blank_);
    take_token(file, "word_delimiter_token", result.delimiter_);
    take_token(file, "replace_word_delimiter_char", result.space_);
  }
  if (config.is_object() && config.contains("do_lower_case") && config["do_lower_case"].is_boolean())
    result.lower_ = config["do_lower_case"].get<bool>();
  return result;
}

CtcText CtcVocabulary::decode(const std::vector<int64_t>& ids) const {
  CtcText result;
  std::string text, word;
  CtcWord open;
  static const std::string kUnknown = "<unk>";
  const auto close = [&] {
    if (word.empty()) return;
    open.text = word;
    result.words.push_back(open);
    word.clear();
  };
  for (size_t from = 0; from < ids.size();) {
    size_t to = from + 1;
    while (to < ids.size() && ids[to] == ids[from]) ++to;
    const auto known = tokens_.find(ids[from]);
    const std::string& token = known == tokens_.end() ? kUnknown : known->second;
    if (token == delimiter_) {
      text += space_;
      close();
    } else if (token != blank_) {
      text += token;
      if (word.empty()) open.first = static_cast<int64_t>(from);
      open.last = static_cast<int64_t>(to);
      word += token;
    }
    from = to;
  }
  close();
  if (lower_) {
    text = lowered(text);
    for (auto& one : result.words) one.text = lowered(one.text);
  }
  result.text = trim(text);
  return result;
}

}  // namespace backplane
