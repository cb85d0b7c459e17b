// GPT-2's byte-level BPE in Python, and CLIP's.
#include <algorithm>
#include <array>
#include <map>

#include "backplane/base/strings.h"
#include "text/python_text.h"
#include "text/slow_models.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

struct ByteLetters {
  std::array<std::string, 256> letter;
  std::map<uint32_t, char> byte;
  ByteLetters() {
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      const uint32_t code = plain ? b : next++;
      append(letter[b], code);
      byte[code] = static_cast<char>(b);
    }
  }
};
const ByteLetters& letters() {
  static const ByteLetters letters;
  return letters;
}

// Python's \s has the four separators U+001C … U+001F as well.
#define BACKPLANE_SPACE "\\s\\x1c-\\x1f"
const py::Regex& pattern_of(ByteBpeSettings::Pattern pattern) {
  static const py::Regex kGpt2("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" BACKPLANE_SPACE "\\p{L}\\p{N}]+|[" BACKPLANE_SPACE "]+(?![^" BACKPLANE_SPACE
                               "])|[" BACKPLANE_SPACE "]+");
  static const py::Regex kQwen2("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" BACKPLANE_SPACE "\\p{L}\\p{N}]+[\\r\\n]*|[" BACKPLANE_SPACE
                                "]*[\\r\\n]+|[" BACKPLANE_SPACE "]+(?![^" BACKPLANE_SPACE "])|[" BACKPLANE_SPACE "]+");
  static const py::Regex kClip("<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^" BACKPLANE_SPACE "\\p{L}\\p{N}]+", true);
  return pattern == ByteBpeSettings::Pattern::gpt2 ? kGpt2 : pattern == ByteBpeSettings::Pattern::qwen2 ? kQwen2 : kClip;
}
#undef BACKPLANE_SPACE

// What ftfy, which the reference runs where it is installed, changes in well-formed text: straight quotes, plain width of
// fullwidth letters, ligatures, no control characters, NFC. Mojibake is not repaired.
std::string repaired(std::string_view text) {
  static const std::map<uint32_t, const char*> kLigatures{{0x132, "IJ"},   {0x133, "ij"},  {0x149, "'n"}, {0xFB00, "ff"},       {0xFB01, "fi"},
                                                          {0xFB02, "fl"},  {0xFB03, "ffi"}, {0xFB04, "ffl"},      {0xFB05, "\xC5\xBFt"}, {0xFB06, "st"},
                                                          {0x1C4, "D\xC5\xBD"}, {0x1C5, "D\xC5\xBE"}, {0x1C6, "d\xC5\xBE"}, {0x1C7, "LJ"}, {0x1C8, "Lj"}, {0x1C9, "lj"},
                                                          {0x1CA, "NJ"},   {0x1CB, "Nj"},  {0x1CC, "nj"},        {0x1F1, "DZ"}, {0x1F2, "Dz"}, {0x1F3, "dz"}};
  // Where such control characters are, Windows-1252 was meant.
  static constexpr uint16_t kWindows1252[32] = {0x20AC, 0x81,   0x201A, 0x192,  0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0x8D, 0x17D, 0x8F,
                                                0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178};
  std::string clean;
  for (uint32_t c : py::code_points(text)) {
    if ((c >= 0x2018 && c <= 0x201B) || c == 0x2BC) c = '\'';
    if (c >= 0x201C && c <= 0x201F) c = '"';
    if (c == 0x3000) c = ' ';
    if (c >= 0x80 && c < 0xA0) c = kWindows1252[c - 0x80];
    if (c >= 0xFF01 && c <= 0xFFEE) {
      std::string wide;
      append(wide, c);
      clean += py::normalized(wide, py::Form::nfkc);
      continue;
    }
    const bool control = (c < 0x20 && c != '\t' && c != '\n' && c != '\f' && c != '\r') || c == 0x7F || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF ||
                         (c >= 0xFFF9 && c <= 0xFFFC);
    if (control) continue;
    const auto ligature = kLigatures.find(c);
    if (ligature != kLigatures.end()) clean += ligature->second;
    else append(clean, c);
  }
  return join(py::split(py::normalized(clean, py::Form::nfc)), " ");
}

class ByteBpe : public TableModel {
 public:
  ByteBpe(TokenTable table, Merges merges, ByteBpeSettings settings)
      : TableModel(std::move(table), settings.unknown), merges_(std::move(merges)), settings_(std::move(settings)) {}

  std::string prepare(std::string_view text, bool is_word) const override {
    std::string out(settings_.nfc ? py::normalized(text, py::Form::nfc) : std::string(text));
    if (clip() || !(settings_.prefix_space || (is_word && settings_.words_get_space))) return out;
    uint32_t length;
    if (settings_.prefix_unless_space && (out.empty() || py::is_space(text::decode(out.data(), length)))) return out;
    return " " + out;
  }
  std::vector<std::string> tokenize(std::string_view text, const std::vector<std::string>&) const override {
    std::string cleaned;
    if (clip()) {
      cleaned = py::lower(repaired(text));
      text = cleaned;
    }
    if (settings_.speaks) {
      cleaned = clvp_text(text);
      text = cleaned;
    }
    std::vector<std::string> tokens;
    for (const py::Regex::Match& match : pattern_of(settings_.pattern).find_all(text)) {
      std::vector<std::string> symbols;
      for (const char c : match.groups[0]) symbols.push_back(letters().letter[static_cast<uint8_t>(c)]);
      if (clip()) {
        if (match.groups[0] == "<|startoftext|>" || match.groups[0] == "<|endoftext|>") {
          tokens.emplace_back(match.groups[0]);
          continue;
        }
        symbols.back() += "</w>";
      }
      for (std::string& symbol : merges_.apply(std::move(symbols))) tokens.push_back(settings_.speaks && symbol == "Ġ" && table_.contains("[SPACE]") ? "[SPACE]" : std::move(symbol));
    }
    return tokens;
  }
  std::string join(std::vector<std::string> tokens, const std::vector<std::string>&) const override {
    const std::string text = from_byte_letters(backplane::join(tokens, ""));
    return clip() ? py::strip(py::replaced(text, "</w>", " ")) : text;
  }

  std::optional<std::string> token(int64_t id) const override {
    auto token = table_.token(id);
    return !token && settings_.missing_is_empty ? std::string() : token;
  }
  bool lower_case() const override { return settings_.lower_case; }
  Decoding decoding() const override { return settings_.decoding; }
  bool cleans_up() const override { return settings_.cleans_up; }

 private:
  bool clip() const { return settings_.pattern == ByteBpeSettings::Pattern::clip; }
  Merges merges_;
  ByteBpeSettings settings_;
};

}  // namespace

std::string to_byte_letters(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += letters().letter[static_cast<uint8_t>(c)];
  return out;
}

std::string from_byte_letters(std::string_view text) {
  std::string bytes;
  for (const uint32_t c : py::code_points(text)) {
    const auto found = letters().byte.find(c);
    if (found == letters().byte.end()) throw Error(ErrorCode::invalid_value, concat("the tokens '", text, "' are not written in the alphabet of bytes"));
    bytes += found->second;
  }
  return replace_invalid(bytes);
}

std::shared_ptr<const SlowModel> make_slow_byte_bpe(TokenTable table, Merges merges, ByteBpeSettings settings) {
  return std::make_shared<ByteBpe>(std::move(table), std::move(merges), std::move(settings));
}

}  // namespace backplane::text
