// The split patterns of well-known tokenizers, written out: one pass, no backtracking beyond a run of blanks.
#include <algorithm>
#include <cstring>

#include "text/pattern.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

// A position in the text, with the class of the character there.
class Cursor {
 public:
  Cursor(std::string_view text) : begin_(text.data()), end_(text.data() + text.size()) {}

  const char* end() const { return end_; }
  uint32_t offset(const char* p) const { return static_cast<uint32_t>(p - begin_); }

  // The class of the character at `p`, 0 at the end; `length` becomes its bytes.
  uint8_t at(const char* p, uint32_t& length) const {
    if (p >= end_) return length = 0, 0;
    const auto byte = static_cast<uint8_t>(*p);
    if (byte < 128) return length = 1, kAsciiClass[byte];
    return class_of(decode(p, length));
  }
  // Past the characters whose class has one of `bits`.
  const char* skip(const char* p, uint8_t bits) const {
    uint32_t length;
    while (p < end_) {
      while (p < end_ && static_cast<uint8_t>(*p) < 128 && (kAsciiClass[static_cast<uint8_t>(*p)] & bits)) ++p;
      if (p >= end_ || static_cast<uint8_t>(*p) < 128 || !(class_of(decode(p, length)) & bits)) break;
      p += length;
    }
    return p;
  }
  // Past the characters whose class has none of `bits`.
  const char* skip_not(const char* p, uint8_t bits) const {
    uint32_t length;
    while (p < end_ && !(at(p, length) & bits)) p += length;
    return p;
  }
  const char* skip_newlines(const char* p, char also = '\n') const {
    while (p < end_ && (*p == '\r' || *p == '\n' || *p == also)) ++p;
    return p;
  }

  // End of \s+(?!\S)|\s+ at `p`, a blank: all of a run at the end of the text, else all but its last.
  const char* blanks(const char* p) const {
    const char* last = p;
    const char* q = p;
    uint32_t length;
    while (q < end_ && (at(q, length) & kSpace)) {
      last = q;
      q += length;
    }
    return q == end_ || last == p ? q : last;
  }
  // End of \s*[\r\n]+ at `p`, a blank, or null where the run has no line end.
  const char* blanks_to_newline(const char* p) const {
    const char* found = nullptr;
    uint32_t length;
    while (p < end_ && (at(p, length) & kSpace)) {
      if (*p == '\r' || *p == '\n') found = p + 1;
      p += length;
    }
    return found;
  }

  // End of 's|'t|'re|'ve|'m|'ll|'d at `p`, or null.
  template <bool kIgnoreCase>
  const char* contraction(const char* p) const {
    if (p >= end_ || *p != '\'') return nullptr;
    const auto letter = [&](const char* q) -> char {
      if (q >= end_) return 0;
      return kIgnoreCase && *q >= 'A' && *q <= 'Z' ? static_cast<char>(*q + 32) : *q;
    };
    switch (letter(p + 1)) {
      case 's':
      case 't':
      case 'm':
      case 'd':
        return p + 2;
      case 'r':
      case 'v':
        return letter(p + 2) == 'e' ? p + 3 : nullptr;
      case 'l':
        return letter(p + 2) == 'l' ? p + 3 : nullptr;
      case '\xC5':  // U+017F is another s where case is ignored
        return kIgnoreCase && p + 2 < end_ && p[2] == '\xBF' ? p + 3 : nullptr;
      default:
        return nullptr;
    }
  }

 private:
  const char* begin_;
  const char* end_;
};

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
void scan_gpt2(std::string_view text, uint32_t shift, std::vector<Span>& matches) {
  const Cursor cursor(text);
  const char* p = text.data();
  while (p < cursor.end()) {
    const char* start = p;
    uint32_t length;
    uint8_t bits = cursor.at(p, length);
    if (const char* end = cursor.contraction<false>(p)) {
      p = end;
    } else {
      if (*p == ' ') {
        const uint8_t next = cursor.at(p + 1, length);
        if (p + 1 < cursor.end() && !(next & kSpace)) {
          bits = next;
          ++p;
        }
      }
      if (bits & kSpace) p = cursor.blanks(p);
      else if (bits & kLetter) p = cursor.skip(p + length, kLetter);
      else if (bits & kNumber) p = cursor.skip(p + length, kNumber);
      else p = cursor.skip_not(p + length, kSpace | kLetter | kNumber);
    }
    matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
  }
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
template <int kDigits>
void scan_cl100k(std::string_view text, uint32_t shift, std::vector<Span>& matches) {
  const Cursor cursor(text);
  const char* p = text.data();
  while (p < cursor.end()) {
    const char* start = p;
    uint32_t length, next_length;
    const uint8_t bits = cursor.at(p, length);
    if (bits & kLetter) {
      p = cursor.skip(p + length, kLetter);
    } else if (bits & kNumber) {
      p += length;
      for (int i = 1; i < kDigits && (cursor.at(p, length) & kNumber); ++i) p += length;
    } else if (const char* end = cursor.contraction<true>(p)) {
      p = end;
    } else if (!(bits & kNewline) && (cursor.at(p + length, next_length) & kLetter)) {
      p = cursor.skip(p + length + next_length, kLetter);
    } else {
      if (*p == ' ' && p + 1 < cursor.end() && !(cursor.at(p + 1, next_length) & (kSpace | kLetter | kNumber))) ++p;
      else if (bits & kSpace) {
        const char* to_newline = cursor.blanks_to_newline(p);
        p = to_newline ? to_newline : cursor.blanks(p);
        matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
        continue;
      }
      p = cursor.skip_newlines(cursor.skip_not(p, kSpace | kLetter | kNumber));
    }
    matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
  }
}

// The word of o200k at `p`: upper-case letters, then lower-case ones, then a contraction; null if there is none.
// kA: [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], kB: [\p{Ll}\p{Lm}\p{Lo}\p{M}].
const char* o200k_word(const Cursor& cursor, const char* p, bool upper_only) {
  const auto in_a = [](uint8_t bits) { return (bits & kMark) || ((bits & kLetter) && !(bits & kLower)); };
  const auto in_b = [](uint8_t bits) { return (bits & kMark) || ((bits & kLetter) && !(bits & kUpper)); };
  uint32_t length;
  const char* a_end = p;
  const char* last_b = nullptr;  // end of the last character of the run that is also in kB
  for (uint8_t bits; a_end < cursor.end() && in_a(bits = cursor.at(a_end, length)); ) {
    a_end += length;
    if (in_b(bits)) last_b = a_end;
  }
  const char* b_end = a_end;
  while (b_end < cursor.end() && in_b(cursor.at(b_end, length))) b_end += length;
  if (upper_only) return a_end == p ? nullptr : b_end;
  return b_end > a_end ? b_end : last_b;
}

// [^\r\n\p{L}\p{N}]?kA*kB+(?i:'s|…)?|[^\r\n\p{L}\p{N}]?kA+kB*(?i:'s|…)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
// Without the contractions and with kDigits 1 it is Tekken's.
template <bool kContractions, int kDigits>
void scan_o200k(std::string_view text, uint32_t shift, std::vector<Span>& matches) {
  const Cursor cursor(text);
  const char* p = text.data();
  while (p < cursor.end()) {
    const char* start = p;
    uint32_t length, next_length;
    const uint8_t bits = cursor.at(p, length);
    const char* word = nullptr;
    for (const bool upper_only : {false, true}) {
      if (!(bits & (kNewline | kLetter | kNumber))) word = o200k_word(cursor, p + length, upper_only);
      if (!word) word = o200k_word(cursor, p, upper_only);
      if (word) break;
    }
    if (word) {
      const char* end = kContractions ? cursor.contraction<true>(word) : nullptr;
      p = end ? end : word;
    } else if (bits & kNumber) {
      p += length;
      for (int i = 1; i < kDigits && (cursor.at(p, length) & kNumber); ++i) p += length;
    } else {
      if (*p == ' ' && p + 1 < cursor.end() && !(cursor.at(p + 1, next_length) & (kSpace | kLetter | kNumber))) ++p;
      else if (bits & kSpace) {
        const char* to_newline = cursor.blanks_to_newline(p);
        p = to_newline ? to_newline : cursor.blanks(p);
        matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
        continue;
      }
      p = cursor.skip_newlines(cursor.skip_not(p, kSpace | kLetter | kNumber), '/');
    }
    matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
  }
}

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_ascii_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// [!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
void scan_deepseek(std::string_view text, uint32_t shift, std::vector<Span>& matches) {
  const Cursor cursor(text);
  const char* p = text.data();
  while (p < cursor.end()) {
    const char* start = p;
    uint32_t length, next_length;
    const uint8_t bits = cursor.at(p, length);
    const uint8_t next = cursor.at(p + length, next_length);
    if (is_ascii_punctuation(*p) && p + 1 < cursor.end() && is_ascii_letter(p[1])) {
      for (p += 2; p < cursor.end() && is_ascii_letter(*p);) ++p;
    } else if (!(bits & (kNewline | kLetter | kPunct)) && (next & (kLetter | kMark))) {
      p = cursor.skip(p + length + next_length, kLetter | kMark);
    } else if (bits & (kLetter | kMark)) {
      p = cursor.skip(p + length, kLetter | kMark);
    } else if ((bits & kPunct) || (*p == ' ' && (next & kPunct))) {
      p = cursor.skip_newlines(cursor.skip(p + length, kPunct));
    } else if (bits & kSpace) {
      const char* to_newline = cursor.blanks_to_newline(p);
      p = to_newline ? to_newline : cursor.blanks(p);
    } else {
      p += length;
      continue;
    }
    matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
  }
}

// [一-龥぀-ゟ゠-ヿ]+
void scan_cjk_run(std::string_view text, uint32_t shift, std::vector<Span>& matches) {
  const Cursor cursor(text);
  const auto in_run = [&](const char* p, uint32_t& length) {
    const uint32_t code = decode(p, length);
    return (code >= 0x4E00 && code <= 0x9FA5) || (code >= 0x3040 && code <= 0x30FF);
  };
  uint32_t length = 1;
  for (const char* p = text.data(); p < cursor.end();) {
    if (static_cast<uint8_t>(*p) < 0xE3) {
      p += sequence_length(*p);
      continue;
    }
    const char* start = p;
    while (p < cursor.end() && in_run(p, length)) p += length;
    if (p == start) p += length;
    else matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
  }
}

// \p{N}{1,kMost}
template <int kMost>
void scan_digits(std::string_view text, uint32_t shift, std::vector<Span>& matches) {
  const Cursor cursor(text);
  uint32_t length;
  for (const char* p = text.data(); p < cursor.end();) {
    p = cursor.skip_not(p, kNumber);
    if (p == cursor.end()) break;
    const char* start = p;
    for (int i = 0; i < kMost && (cursor.at(p, length) & kNumber); ++i) p += length;
    matches.push_back({shift + cursor.offset(start), shift + cursor.offset(p)});
  }
}

struct KnownPattern {
  std::string_view expression;
  Pattern::Scanner scanner;
};

constexpr KnownPattern kKnownPatterns[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", scan_gpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", scan_gpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", scan_cl100k<3>},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", scan_cl100k<3>},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)", scan_cl100k<3>},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", scan_cl100k<1>},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)", scan_o200k<true, 3>},
    {R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)", scan_o200k<false, 1>},
    {"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", scan_deepseek},
    {"[一-龥぀-ゟ゠-ヿ]+", scan_cjk_run},
    {R"(\p{N}{1,3})", scan_digits<3>},
    {R"(\p{N})", scan_digits<1>},
};

}  // namespace

Pattern::Scanner gpt2_scanner() { return scan_gpt2; }

Pattern::Scanner find_scanner(std::string_view expression) {
  for (const KnownPattern& known : kKnownPatterns)
    if (known.expression == expression) return known.scanner;
  return nullptr;
}

}  // namespace backplane::text
