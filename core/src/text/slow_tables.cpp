// Vocabulary files of the reference's Python tokenizers, WordPiece.
#include <algorithm>

#include "backplane/base/files.h"
#include "backplane/base/limits.h"
#include "text/json_fields.h"
#include "text/python_text.h"
#include "text/slow_models.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

std::string read_text(const std::string& path) {
  std::string text = read_file(path, limits::kTokenizerBytes);
  if (valid_prefix(text) != text.size()) bad(concat("'", path, "'"), "the text is not UTF-8");
  return text;
}

// Lines as Python's text files have them.
std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  const std::string text = read_text(path);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find_first_of("\r\n", at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + (end + 1 < text.size() && text[end] == '\r' && text[end + 1] == '\n' ? 2 : 1);
  }
  return lines;
}

bool is_chinese(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

}  // namespace

void TokenTable::add(const std::string& token, int64_t id) {
  ids_[token] = id;
  tokens_[id] = token;
}
int64_t TokenTable::id(const std::string& token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? kNone : found->second;
}
std::optional<std::string> TokenTable::token(int64_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? std::nullopt : std::optional(found->second);
}

TokenTable read_vocab_txt(const std::string& path, bool strip_lines) {
  TokenTable table;
  int64_t id = 0;
  for (const std::string& line : lines_of(path)) table.add(strip_lines ? py::strip(line) : line, id++);
  return table;
}

std::vector<std::string> read_lines(const std::string& path) { return lines_of(path); }

TokenTable read_vocab_json(const std::string& path) {
  return table_of(read_json_file(path, ErrorCode::bad_tokenizer, {.bytes = limits::kTokenizerBytes}), path);
}
TokenTable table_of(const Json& json, const std::string& path) {
  TokenTable table;
  if (!json.is_object()) bad(concat("'", path, "'"), concat("expected an object of tokens and ids, found ", json.type_name()));
  for (const auto& [token, id] : json.items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX)) bad(concat("'", path, "'"), concat("the id of '", token, "' is ", id.dump(), ", expected an integer"));
    table.add(token, id.get<int64_t>());
  }
  return table;
}

uint32_t Merges::intern(const std::string& symbol) {
  const auto [entry, is_new] = symbols_.try_emplace(symbol, static_cast<uint32_t>(texts_.size()));
  if (is_new) texts_.push_back(symbol);
  return entry->second;
}

void Merges::add(const std::string& left, const std::string& right) {
  const uint64_t key = uint64_t{intern(left)} << 32 | intern(right);
  rules_[key] = {static_cast<uint32_t>(pairs_.size()), intern(left + right)};
  pairs_.emplace_back(left, right);
}

std::vector<std::string> Merges::apply(std::vector<std::string> symbols) const {
  // A symbol that no merge has stays as it is.
  std::vector<uint32_t> ids;
  std::vector<std::string> unknown;
  for (const std::string& symbol : symbols) {
    const auto found = symbols_.find(symbol);
    if (found != symbols_.end()) {
      ids.push_back(found->second);
    } else {
      ids.push_back(static_cast<uint32_t>(texts_.size() + unknown.size()));
      unknown.push_back(symbol);
    }
  }
  const auto rule_of = [&](uint32_t left, uint32_t right) -> const Rule* {
    const auto found = rules_.find(uint64_t{left} << 32 | right);
    return found == rules_.end() ? nullptr : &found->second;
  };
  while (ids.size() > 1) {
    const Rule* best = nullptr;
    uint32_t left = 0, right = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const Rule* rule = rule_of(ids[i], ids[i + 1]);
      if (rule && (!best || rule->rank < best->rank)) best = rule, left = ids[i], right = ids[i + 1];
    }
    if (!best) break;
    size_t out = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const bool joined = i + 1 < ids.size() && ids[i] == left && ids[i + 1] == right;
      ids[out++] = joined ? best->result : ids[i];
      i += joined;
    }
    ids.resize(out);
  }
  symbols.clear();
  for (const uint32_t id : ids) symbols.push_back(id < texts_.size() ? texts_[id] : unknown[id - texts_.size()]);
  return symbols;
}

Merges read_merges_file(const std::string& path, size_t skip_first, size_t skip_last) {
  // As Python's split("\n") on the whole text: after a last line end comes one more, empty line.
  std::vector<std::string> lines = lines_of(path);
  const std::string text = read_text(path);
  if (text.empty() || text.back() == '\n' || text.back() == '\r') lines.emplace_back();
  Merges merges;
  for (size_t i = skip_first; i + skip_last < lines.size(); ++i) {
    const auto words = py::split(lines[i]);
    if (words.size() >= 2) merges.add(words[0], words[1]);
  }
  return merges;
}

bool is_punctuation(uint32_t c) {
  if ((c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126)) return true;
  return py::category(c)[0] == 'P';
}

std::vector<std::string> basic_tokenize(std::string_view text, const BasicSettings& settings, const std::vector<std::string>& kept) {
  std::string clean;
  for (const uint32_t c : py::code_points(text)) {
    const bool plain_blank = c == '\t' || c == '\n' || c == '\r' || c == ' ';
    if (c == 0 || c == 0xFFFD || (!plain_blank && py::category(c)[0] == 'C')) continue;
    const bool apart = settings.chinese_characters && is_chinese(c);
    if (apart) clean += ' ';
    if (plain_blank || py::category(c) == "Zs") clean += ' ';
    else append(clean, c);
    if (apart) clean += ' ';
  }
  const auto keeps = [&](const std::string& word) { return py::contains(settings.never_split, word) || py::contains(kept, word); };
  std::vector<std::string> out;
  for (std::string word : py::split(py::normalized(clean, py::Form::nfc))) {
    if (!keeps(word)) {
      if (settings.lower_case) word = py::lower(word);
      if (settings.strip_accents.value_or(settings.lower_case))
        word = py::filtered(py::normalized(word, py::Form::nfd), [](uint32_t c) { return py::category(c) != "Mn"; });
    }
    if (!settings.split_on_punctuation || keeps(word)) {
      out.push_back(word);
      continue;
    }
    bool fresh = true;
    std::vector<std::string> parts;
    for (const std::string& c : py::characters(word)) {
      const bool mark = is_punctuation(py::code_points(c)[0]);
      if (mark || fresh) parts.emplace_back();
      parts.back() += c;
      fresh = mark;
    }
    for (std::string& part : parts) out.push_back(std::move(part));
  }
  // Joined by blanks and split again: lower case and decomposition may have left blanks.
  return py::split(join(out, " "));
}

void word_pieces(const TokenTable& table, const std::string& word, const std::string& unknown, size_t longest, std::vector<std::string>& tokens) {
  const auto characters = py::characters(word);
  if (characters.size() > longest) return tokens.push_back(unknown);
  const size_t before = tokens.size();
  for (size_t begin = 0; begin < word.size();) {
    size_t end = word.size();
    std::string piece;
    for (; end > begin; --end) {
      if (end < word.size() && is_continuation(word[end])) continue;
      piece = (begin ? "##" : "") + word.substr(begin, end - begin);
      if (table.contains(piece)) break;
    }
    if (end == begin) {
      tokens.resize(before);
      return tokens.push_back(unknown);
    }
    tokens.push_back(std::move(piece));
    begin = end;
  }
}

namespace {

class WordPiece : public TableModel {
 public:
  WordPiece(TokenTable table, WordPieceSettings settings) : TableModel(std::move(table), settings.unknown), settings_(std::move(settings)) {}

  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>& kept) const override {
    constexpr size_t kLongestWord = 100;
    std::vector<std::string> tokens;
    const auto words = settings_.basic ? basic_tokenize(text, settings_, kept) : py::split(text);
    for (const std::string& word : words) {
      if (settings_.characters) {
        for (const std::string& c : py::characters(py::normalized(word, py::Form::nfkc))) tokens.push_back(table_.contains(c) ? c : unknown_);
        continue;
      }
      if (settings_.basic && py::contains(settings_.never_split, word)) tokens.push_back(word);
      else word_pieces(table_, word, unknown_, kLongestWord, tokens);
    }
    return tokens;
  }
  std::optional<std::string> token(int64_t id) const override { return table_.token(id).value_or(unknown_); }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override {
    return py::strip(py::replaced(backplane::join(tokens, " "), " ##", ""));
  }
  bool lower_case() const override { return settings_.basic && settings_.lower_case; }

 private:
  WordPieceSettings settings_;
};

}  // namespace

std::shared_ptr<const SlowModel> make_slow_word_piece(TokenTable table, WordPieceSettings settings) {
  return std::make_shared<WordPiece>(std::move(table), std::move(settings));
}

}  // namespace backplane::text
