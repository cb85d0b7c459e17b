// Byte-pair encoding of words in Python: OpenAI GPT, CTRL and their like.
#include "backplane/base/strings.h"
#include "text/python_text.h"
#include "text/slow_models.h"

namespace backplane::text {
namespace {

constexpr std::string_view kEnd = "</w>";

class WordPairs : public TableModel {
 public:
  WordPairs(TokenTable table, Merges merges, WordPairSettings settings)
      : TableModel(std::move(table), settings.unknown), merges_(std::move(merges)), settings_(std::move(settings)) {}

  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>& kept) const override {
    std::vector<std::string> tokens;
    for (const std::string& word : words(text, kept)) cut(word, tokens);
    return tokens;
  }
  int64_t id(const std::string& token) const override { return table_.id(small() ? py::lower(token) : token, unknown_); }
  std::optional<std::string> token(int64_t id) const override { return table_.token(id).value_or(unknown_); }
  bool lower_case() const override { return settings_.kind == Kind::openai || settings_.lower_case; }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override {
    if (marks_ends()) return py::strip(py::replaced(backplane::join(tokens, ""), kEnd, " "));
    const std::string text = py::replaced(backplane::join(tokens, " "), "@@ ", "");
    return settings_.kind == Kind::speech ? text : py::strip(text);
  }

 private:
  using Kind = WordPairSettings::Kind;
  bool small() const { return settings_.kind == Kind::blenderbot_small; }
  // Ends of words are marked with "</w>"; otherwise what goes on is marked with "@@".
  bool marks_ends() const { return settings_.kind == Kind::openai || settings_.kind == Kind::herbert; }

  std::vector<std::string> words(std::string_view text, const std::vector<std::string>& kept) const {
    switch (settings_.kind) {
      case Kind::openai: return basic_tokenize(text, {}, {});
      case Kind::herbert: return basic_tokenize(text, {.lower_case = false, .chinese_characters = false, .strip_accents = false}, kept);
      case Kind::speech: return py::split(settings_.lower_case ? py::lower(text) : std::string(text));
      default: break;
    }
    static const py::Regex kWord("[^\\s\\x1c-\\x1f]+\\n?");
    std::vector<std::string> words;
    for (const auto& match : kWord.find_all(text)) {
      if (!small()) {
        words.emplace_back(match.groups[0]);
        continue;
      }
      static const py::Regex kMark("([.,!?()])"), kQuote("(')"), kBlanks("\\s{2,}");
      const std::string apart = kBlanks.sub(kQuote.sub(kMark.sub(match.groups[0], " \\1"), " \\1 "), " ");
      for (const std::string& word : py::split(py::replaced(apart, "\n", " __newln__"), " "))
        if (!word.empty()) words.push_back(py::lower(word));
    }
    return words;
  }

  void cut(const std::string& word, std::vector<std::string>& tokens) const {
    auto symbols = py::characters(word);
    if (symbols.size() == 1) return tokens.push_back(marks_ends() ? word + std::string(kEnd) : word);
    symbols.back() += kEnd;
    symbols = merges_.apply(std::move(symbols));
    if (!marks_ends()) {
      symbols.back().resize(symbols.back().size() - kEnd.size());
      for (size_t i = 0; i + 1 < symbols.size(); ++i) symbols[i] += "@@";
    }
    for (std::string& symbol : symbols) tokens.push_back(std::move(symbol));
  }

  Merges merges_;
  WordPairSettings settings_;
};

}  // namespace

std::shared_ptr<const SlowModel> make_slow_word_pairs(TokenTable table, Merges merges, WordPairSettings settings) {
  return std::make_shared<WordPairs>(std::move(table), std::move(merges), std::move(settings));
}

}  // namespace backplane::text
