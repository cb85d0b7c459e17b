// Bytes, characters and the outputs of CTC models.
#include <algorithm>

#include "backplane/base/strings.h"
#include "backplane/text/ctc_decoding.h"
#include "text/python_text.h"
#include "text/slow_models.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

std::string character(int64_t code) {
  std::string text;
  if (code >= 0 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF)) append(text, static_cast<uint32_t>(code));
  return text;
}

class Bytes : public SlowModel {
 public:
  explicit Bytes(ByteSettings settings) : settings_(settings) {}

  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override {
    std::vector<std::string> tokens;
    for (const char c : text) tokens.push_back(character(static_cast<uint8_t>(c)));
    return tokens;
  }
  int64_t id(const std::string& token) const override {
    const auto codes = py::code_points(token);
    return codes.size() == 1 ? codes[0] + settings_.offset : kNone;
  }
  std::optional<std::string> token(int64_t id) const override {
    std::string text = character(id - settings_.offset);
    return text.empty() ? std::nullopt : std::optional(text);
  }
  int64_t size() const override { return 256; }
  bool by_id() const override { return true; }
  int64_t listed_ids() const override { return 256 + settings_.offset; }
  int64_t listed_id(const std::string& token) const override {
    const int64_t known = id(token);
    return known < listed_ids() ? known : kNone;
  }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override {
    if (settings_.kind == ByteSettings::Kind::dia) return backplane::join(tokens, "");
    std::string bytes;
    for (const std::string& token : tokens) {
      const auto codes = py::code_points(token);
      if (codes.size() != 1) bytes += token;
      else if (codes[0] > 255) throw Error(ErrorCode::invalid_value, concat("the token '", token, "' stands for no byte"));
      else bytes += static_cast<char>(codes[0]);
    }
    if (settings_.kind == ByteSettings::Kind::perceiver) return replace_invalid(bytes);
    // What is not UTF-8 is left out.
    std::string text;
    for (std::string_view rest = bytes; !rest.empty();) {
      const size_t valid = valid_prefix(rest);
      text += rest.substr(0, valid);
      rest.remove_prefix(std::min(valid + 1, rest.size()));
    }
    return text;
  }

 private:
  ByteSettings settings_;
};

class Canine : public SlowModel {
 public:
  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override { return py::characters(text); }
  int64_t id(const std::string& token) const override {
    const auto codes = py::code_points(token);
    if (codes.size() != 1) throw Error(ErrorCode::invalid_value, concat("the token '", token, "' is no single character"));
    return codes[0];
  }
  std::optional<std::string> token(int64_t id) const override {
    static const std::map<int64_t, std::string> kNames{{0, "[PAD]"}, {0xE000, "[CLS]"}, {0xE001, "[SEP]"}, {0xE002, "[BOS]"}, {0xE003, "[MASK]"}, {0xE004, "[RESERVED]"}};
    if (const auto found = kNames.find(id); found != kNames.end()) return found->second;
    std::string text = character(id);
    return text.empty() ? std::nullopt : std::optional(text);
  }
  int64_t size() const override { return 0x110000; }
  int64_t listed_id(const std::string& token) const override {
    const auto codes = py::code_points(token);
    return codes.size() == 1 ? codes[0] : kNone;
  }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override { return backplane::join(tokens, ""); }
};

class Esm : public TableModel {
 public:
  using TableModel::TableModel;
  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override { return py::split(text); }
  std::optional<std::string> token(int64_t id) const override { return table_.token(id).value_or(unknown_); }
  std::vector<std::string> landmarks() const override {
    std::vector<std::string> tokens;
    for (const auto& [id, token] : table_.tokens()) tokens.push_back(token);
    return tokens;
  }
};

class Characters : public TableModel {
 public:
  using TableModel::TableModel;
  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override { return py::characters(text); }
};

class Vits : public TableModel {
 public:
  Vits(TokenTable table, VitsSettings settings) : TableModel(std::move(table), settings.unknown), settings_(std::move(settings)) {}

  std::string prepare(std::string_view text, bool) const override {
    std::string out;
    if (!settings_.normalize) return romanian(std::string(text));
    // What is in the vocabulary stays; the rest goes through lower case.
    for (size_t at = 0; at < text.size();) {
      const std::string* word = nullptr;
      for (const auto& [id, token] : table_.tokens())
        if (!token.empty() && text.substr(at).starts_with(token)) {
          word = &token;
          break;
        }
      const size_t length = word ? word->size() : sequence_length(text[at]);
      out += word ? *word : py::lower(text.substr(at, length));
      at += length;
    }
    std::string kept;
    for (const std::string& c : py::characters(romanian(std::move(out))))
      if (table_.contains(c)) kept += c;
    return py::strip(kept);
  }
  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override {
    if (!settings_.add_blank) return py::characters(text);
    const std::string blank = table_.token(0).value_or("");
    std::vector<std::string> tokens{blank};
    for (std::string& c : py::characters(text)) {
      tokens.push_back(std::move(c));
      tokens.push_back(blank);
    }
    return tokens;
  }
  bool by_id() const override { return true; }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override {
    if (!settings_.add_blank || tokens.size() < 2) return backplane::join(tokens, "");
    std::string out;
    for (size_t i = 1; i < tokens.size(); i += 2) out += tokens[i];
    return out;
  }

 private:
  std::string romanian(std::string text) const { return settings_.language == "ron" ? py::replaced(std::move(text), "ț", "ţ") : text; }
  VitsSettings settings_;
};

class Ctc : public TableModel {
 public:
  Ctc(TokenTable table, CtcSettings settings) : TableModel(std::move(table), settings.unknown), settings_(std::move(settings)) {}

  std::string prepare(std::string_view text, bool is_word) const override { return is_word ? " " + std::string(text) : std::string(text); }
  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override {
    if (!settings_.phonemes) return py::characters(py::replaced(settings_.lower_case ? py::upper(text) : std::string(text), " ", settings_.delimiter));
    std::vector<std::string> tokens = py::split(py::strip(text), " ");
    std::erase_if(tokens, [](const std::string& token) { return py::strip(token).empty(); });
    return tokens;
  }
  std::optional<std::string> token(int64_t id) const override { return table_.token(id).value_or(unknown_); }
  bool lower_case() const override { return settings_.lower_case; }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override {
    if (settings_.phonemes && tokens.empty()) throw Error(ErrorCode::invalid_value, "there are no tokens to join");
    return collapse_ctc(tokens, {.pad_token = settings_.pad, .delimiter = settings_.delimiter, .blank = settings_.blank, .phonemes = settings_.phonemes, .lower_case = settings_.lower_case}).text;
  }
  std::optional<std::string> decode(const std::vector<std::string>& tokens, const std::vector<std::string>& special, bool skip_special) const override {
    std::vector<std::string> kept;
    for (const std::string& token : tokens)
      if (!skip_special || token == settings_.pad || !py::contains(special, token)) kept.push_back(token);
    return join(kept, special);
  }

 private:
  CtcSettings settings_;
};

}  // namespace

std::shared_ptr<const SlowModel> make_slow_bytes(ByteSettings settings) { return std::make_shared<Bytes>(settings); }
std::shared_ptr<const SlowModel> make_slow_canine() { return std::make_shared<Canine>(); }
std::shared_ptr<const SlowModel> make_slow_esm(TokenTable table, std::string unknown) { return std::make_shared<Esm>(std::move(table), std::move(unknown)); }
std::shared_ptr<const SlowModel> make_slow_characters(TokenTable table, std::string unknown) { return std::make_shared<Characters>(std::move(table), std::move(unknown)); }
std::shared_ptr<const SlowModel> make_slow_vits(TokenTable table, VitsSettings settings) { return std::make_shared<Vits>(std::move(table), std::move(settings)); }
std::shared_ptr<const SlowModel> make_slow_ctc(TokenTable table, CtcSettings settings) { return std::make_shared<Ctc>(std::move(table), std::move(settings)); }

}  // namespace backplane::text

namespace backplane {

CtcText collapse_ctc(const std::vector<std::string>& tokens, const CtcOptions& options) {
  CtcText out;
  const auto& o = options;
  struct Run {
    std::string token;
    int64_t begin, end;
  };
  std::vector<Run> runs;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    if (o.group_tokens && !runs.empty() && runs.back().token == tokens[i]) runs.back().end = at + 1;
    else runs.push_back({tokens[i], at, at + 1});
  }
  std::vector<std::string> parts;
  for (const Run& run : runs) {
    if (run.token == o.pad_token || (o.phonemes && !o.delimiter.empty() && run.token == o.delimiter)) continue;
    parts.push_back(!o.phonemes && run.token == o.delimiter ? o.blank : run.token);
    out.characters.push_back({parts.back(), run.begin, run.end});
  }
  out.text = text::py::strip(join(parts, o.phonemes ? " " : ""));
  if (o.lower_case && !o.phonemes) out.text = text::py::lower(out.text);

  // Words between delimiters; the first begins at 0.
  bool in_word = false;
  CtcSpan word{"", 0, 0};
  for (const CtcSpan& c : out.characters) {
    const bool is_word = c.text != o.blank;
    if (is_word == in_word) {
      word.end = c.end;
      word.text += c.text;
    } else if (!is_word) {
      out.words.push_back(word);
    } else {
      word = c;
    }
    in_word = is_word;
  }
  if (in_word) out.words.push_back(word);
  return out;
}

CtcText decode_ctc(const Tokenizer& tokenizer, const std::vector<int64_t>& ids, bool skip_special_tokens, bool group_tokens) {
  const std::vector<int64_t> special = tokenizer.all_special_ids();
  const std::vector<std::string> special_tokens = tokenizer.all_special_tokens();
  const Json config = parse_json(tokenizer.config(), "tokenizer_config.json");
  const auto text_of = [&](const char* key, const char* absent) {
    const auto found = config.find(key);
    return found != config.end() && found->is_string() ? found->get<std::string>() : std::string(absent);
  };
  CtcOptions options;
  options.phonemes = tokenizer.tokenizer_class().find("Phoneme") != std::string::npos;
  options.pad_token = tokenizer.pad_token().value_or("");
  options.delimiter = text_of("word_delimiter_token", options.phonemes ? "" : "|");
  options.blank = text_of("replace_word_delimiter_char", " ");
  options.lower_case = config.contains("do_lower_case") && config.at("do_lower_case") == true;
  options.group_tokens = group_tokens;
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    if (skip_special_tokens && std::find(special.begin(), special.end(), id) != special.end()) continue;
    const auto token = tokenizer.id_to_token(id);
    if (!token) throw Error(ErrorCode::invalid_value, concat("id ", id, " is no token of the vocabulary"));
    tokens.push_back(*token);
  }
  return collapse_ctc(tokens, options);
}

}  // namespace backplane
