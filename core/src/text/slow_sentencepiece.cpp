// The reference's Python classes over SentencePiece.
#include <algorithm>

#include "backplane/base/strings.h"
#include "text/python_text.h"
#include "text/slow_models.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

class SentencePieceModel : public SlowModel {
 public:
  SentencePieceModel(SentencePiece model, SentencePieceSettings settings) : model_(std::move(model)), settings_(std::move(settings)) {
    for (const auto& [token, id] : settings_.fixed) fixed_tokens_[id] = token;
    if (!settings_.legacy) {
      model_.set_dummy_prefix(false);
      unknown_length_ = model_.encode(settings_.unknown).size();
    }
  }

  std::string prepare(std::string_view text, bool is_word) const override {
    if (settings_.words_get_space && is_word) return " " + std::string(text);
    if (settings_.legacy || (text.empty() && !settings_.canonical)) return std::string(text);
    const std::string out = py::replaced(std::string(text), kSpaceSymbol, " ");
    return settings_.prefix_space ? std::string(kSpaceSymbol) + out : out;
  }
  void finish(std::vector<std::string>& tokens, const std::vector<std::string>& special) const override {
    if (!settings_.legacy && tokens.size() > 1 && tokens[0] == kSpaceSymbol && py::contains(special, tokens[1])) tokens.erase(tokens.begin());
  }

  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override {
    if (settings_.language_code) {
      std::vector<std::string> tokens;
      if (const size_t end = text.find("<<"); text.starts_with(">>") && end != std::string_view::npos) {
        tokens.emplace_back(text.substr(0, end + 2));
        text.remove_prefix(end + 2);
      }
      for (std::string& piece : model_.encode(text)) tokens.push_back(std::move(piece));
      return tokens;
    }
    if (settings_.cleans_controls) return model_.encode(without_controls(text));
    if (settings_.ernie) return ernie(text);
    if (settings_.albert) return albert(text);
    if (settings_.split_punctuation) {
      std::vector<std::string> tokens;
      for (const std::string& part : punctuation_apart(settings_.lower_case ? py::lower(text) : std::string(text)))
        for (std::string& piece : model_.encode(part)) tokens.push_back(std::move(piece));
      return tokens;
    }
    std::string clean(text);
    if (settings_.canonical) {
      clean = py::filtered(text, [](uint32_t c) { return c >= 128 || !is_punctuation(c); });
      clean = join_blanks(clean);
    } else if (settings_.legacy || !(text.starts_with(kSpaceSymbol) || text.starts_with(' '))) {
      return model_.encode(clean);
    }
    // With the unknown token in front, the model does not take the first blank for its own.
    auto tokens = model_.encode(settings_.unknown + clean);
    if (tokens.size() >= unknown_length_) tokens.erase(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(unknown_length_));
    return tokens;
  }

  int64_t id(const std::string& token) const override {
    if (const auto found = settings_.fixed.find(token); found != settings_.fixed.end()) return found->second;
    if (settings_.table) return settings_.table->id(token, settings_.unknown);
    const int64_t id = model_.id(token);
    if (settings_.zero_is_unknown && id == 0) return unknown_id();
    return id + settings_.offset;
  }
  std::optional<std::string> token(int64_t id) const override {
    if (const auto found = fixed_tokens_.find(id); found != fixed_tokens_.end()) return found->second;
    if (settings_.table) return settings_.table->token(id).value_or(settings_.unknown);
    const int64_t index = id - settings_.offset;
    if (index < 0 || index >= static_cast<int64_t>(model_.size())) return std::nullopt;
    return model_.piece(static_cast<size_t>(index)).text;
  }
  int64_t size() const override { return settings_.table ? settings_.table->size() : static_cast<int64_t>(model_.size()) + settings_.extra; }
  bool by_id() const override { return !settings_.listed_by_table; }
  int64_t listed_id(const std::string& token) const override { return settings_.listed_by_table ? settings_.table->id(token) : SlowModel::listed_id(token); }
  bool lower_case() const override { return settings_.lower_case; }

  std::string join(std::vector<std::string> tokens, const std::vector<std::string>& special) const override {
    using Join = SentencePieceSettings::Join;
    const SentencePiece& joiner = settings_.joiner ? *settings_.joiner : model_;
    const auto decode = [&](const std::vector<std::string>& part) { return settings_.upper_case ? py::upper(joiner.decode(part)) : joiner.decode(part); };
    if (settings_.join == Join::decoded) return joiner.decode(tokens);
    if (settings_.strips_prefix && tokens.empty()) throw Error(ErrorCode::invalid_value, "there are no tokens to join");
    if (settings_.join == Join::replaced) return py::strip(py::replaced(backplane::join(tokens, ""), kSpaceSymbol, " "));
    if (settings_.strips_prefix) {
      if (settings_.prefix_space && tokens[0].starts_with(kSpaceSymbol)) tokens[0].erase(0, kSpaceSymbol.size());
    }
    const bool llama = settings_.join == Join::llama;
    std::string out;
    std::vector<std::string> part;
    bool after_special = false;
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (py::contains(special, tokens[i])) {
        if (!after_special && (settings_.join == Join::spaced || (llama && i != 0 && settings_.legacy))) out += ' ';
        out += decode(part) + tokens[i];
        if (settings_.join == Join::trailing) out += ' ';
        part.clear();
        after_special = true;
      } else {
        if (llama && after_special && i == 1 && settings_.prefix_space && !tokens[i].starts_with(kSpaceSymbol)) out += ' ';
        part.push_back(tokens[i]);
        after_special = false;
      }
    }
    out += decode(part);
    if (settings_.joiner) py::replace_all(out, kSpaceSymbol, " ");
    return settings_.strips ? py::strip(out) : out;
  }
  Decoding decoding() const override { return settings_.decoding; }
  bool cleans_up() const override { return settings_.cleans_up; }
  std::string finish_decoding(std::string text) const override {
    for (const auto& [from, to] : settings_.decoded) py::replace_all(text, from, to);
    return text;
  }
  int64_t listed_ids() const override { return size() + settings_.listed_extra; }

 private:
  static std::string without_controls(std::string_view text) {
    static constexpr uint32_t kBlanks[] = {' ', 0x2009, 0x200A, 0x202F, 0x2005, 0x3000, 0x2002, 0xA0, 0x2008, 0x2003, 0xFFFC, 0x84};
    std::string out;
    for (const uint32_t c : py::code_points(text)) {
      const bool control = c < 9 || (c >= 11 && c < 32) || (c >= 127 && c < 160) || c == 160 || c == 173 || c == 8203;
      if (control) continue;
      if (std::find(std::begin(kBlanks), std::end(kBlanks), c) != std::end(kBlanks)) out += ' ';
      else append(out, c);
    }
    return py::normalized(out, py::Form::nfc);
  }

  std::vector<std::string> ernie(std::string_view text) const {
    static const std::string kMarks = ",;:.?!~，；：。？！《》【】";
    const auto pieces = model_.encode(text);
    std::vector<std::string> tokens;
    for (size_t p = 0; p < pieces.size(); ++p) {
      if (pieces[p] == kSpaceSymbol) {
        if (p + 1 >= pieces.size()) throw Error(ErrorCode::invalid_value, "ErnieMTokenizer does not take a text that ends with a lone blank");
        if (!pieces[p + 1].starts_with(kSpaceSymbol) && p != 0) tokens.emplace_back(kSpaceSymbol);
        continue;
      }
      const auto characters = py::characters(pieces[p]);
      const auto is_digit = [&](size_t i) { return py::is_digit(py::code_points(characters[i])[0]); };
      size_t last = 0;
      const auto flush = [&](size_t i) {
        const std::string part = backplane::join({characters.begin() + static_cast<ptrdiff_t>(last), characters.begin() + static_cast<ptrdiff_t>(i)}, "");
        if (i > last && part != kSpaceSymbol) tokens.push_back(part);
      };
      for (size_t i = 0; i < characters.size(); ++i) {
        const std::string& c = characters[i];
        if (c == kSpaceSymbol) continue;
        const uint32_t code = py::code_points(c)[0];
        if ((code >= 0x4E00 && code <= 0x9FFF) || kMarks.find(c) != std::string::npos) {
          flush(i);
          tokens.push_back(c);
          last = i + 1;
        } else if (i > 0 && is_digit(i) != is_digit(i - 1)) {
          flush(i);
          last = i;
        }
      }
      if (characters.size() > last) tokens.push_back(backplane::join({characters.begin() + static_cast<ptrdiff_t>(last), characters.end()}, ""));
    }
    return tokens;
  }

  static std::string join_blanks(std::string_view text) { return backplane::join(py::split(text), " "); }

  static std::vector<std::string> punctuation_apart(std::string_view text) {
    std::vector<std::string> parts;
    bool fresh = true;
    for (const std::string& c : py::characters(text)) {
      const bool mark = is_punctuation(py::code_points(c)[0]);
      if (mark || fresh) parts.emplace_back();
      parts.back() += c;
      fresh = mark;
    }
    return parts;
  }

  int64_t unknown_id() const {
    const auto found = settings_.fixed.find(settings_.unknown);
    return found != settings_.fixed.end() ? found->second : model_.unknown_id() + settings_.offset;
  }

  std::vector<std::string> albert(std::string_view input) const {
    std::string text = settings_.remove_space ? join_blanks(input) : std::string(input);
    text = py::replaced(py::replaced(text, "``", "\""), "''", "\"");
    if (!settings_.keep_accents) text = py::filtered(py::normalized(text, py::Form::nfkd), [](uint32_t c) { return !py::is_combining(c); });
    if (settings_.lower_case) text = py::lower(text);
    std::vector<std::string> tokens;
    for (std::string& piece : model_.encode(text)) {
      uint32_t length;
      const bool comma = piece.size() > 1 && piece.back() == ',' && py::is_digit(decode_before(piece.data() + piece.size() - 1, length));
      if (!comma) {
        tokens.push_back(std::move(piece));
        continue;
      }
      auto parts = model_.encode(py::replaced(piece.substr(0, piece.size() - 1), kSpaceSymbol, ""));
      if (!piece.starts_with(kSpaceSymbol) && !parts.empty() && parts[0].starts_with(kSpaceSymbol)) {
        parts[0].erase(0, kSpaceSymbol.size());
        if (parts[0].empty()) parts.erase(parts.begin());
      }
      for (std::string& part : parts) tokens.push_back(std::move(part));
      tokens.push_back(",");
    }
    return tokens;
  }

  SentencePiece model_;
  SentencePieceSettings settings_;
  std::map<int64_t, std::string> fixed_tokens_;
  size_t unknown_length_ = 0;
};

}  // namespace

std::shared_ptr<const SlowModel> make_slow_sentence_piece(SentencePiece model, SentencePieceSettings settings) {
  return std::make_shared<SentencePieceModel>(std::move(model), std::move(settings));
}

}  // namespace backplane::text
