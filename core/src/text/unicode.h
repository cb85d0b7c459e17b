#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace backplane::text {

#include "text/unicode_data.inc"

// The record of a code point: its category in the low five bits, Flag above.
inline uint32_t record_of(uint32_t code) { return kRecords[kRecordPages[kRecordIndex[code >> 7] * 128 + (code & 127)]]; }
inline Category category_of(uint32_t code) { return static_cast<Category>(record_of(code) & 31); }
inline uint8_t script_of(uint32_t code) { return kScriptPages[kScriptIndex[code >> 7] * 128 + (code & 127)]; }
inline bool is_white_space(uint32_t code) { return record_of(code) & kWhiteSpace; }
// \w of Rust's regular expressions.
inline bool is_word(uint32_t code) { return (record_of(code) & kWord) || code == 0x200C || code == 0x200D; }
inline bool is_numeric(uint32_t code) {
  const Category category = category_of(code);
  return category == kNd || category == kNl || category == kNo;
}

// What the split patterns ask about a code point.
enum ClassBit : uint8_t { kLetter = 1, kNumber = 2, kSpace = 4, kNewline = 8, kMark = 16, kUpper = 32, kLower = 64, kPunct = 128 };

constexpr uint8_t class_of_record(uint32_t record) {
  const uint32_t category = record & 31;
  uint8_t bits = record & kWhiteSpace ? kSpace : 0;
  if (category <= kLo) bits |= kLetter;
  if (category == kLu || category == kLt) bits |= kUpper;
  if (category == kLl) bits |= kLower;
  if (category >= kMn && category <= kMe) bits |= kMark;
  if (category >= kNd && category <= kNo) bits |= kNumber;
  if (category >= kPc && category <= kSo) bits |= kPunct;
  return bits;
}

inline constexpr auto kRecordClass = [] {
  std::array<uint8_t, 256> classes{};
  for (size_t i = 0; i < sizeof kRecords / sizeof *kRecords; ++i) classes[i] = class_of_record(kRecords[i]);
  return classes;
}();

inline constexpr auto kAsciiClass = [] {
  std::array<uint8_t, 128> classes{};
  for (size_t code = 0; code < 128; ++code) classes[code] = kRecordClass[kRecordPages[kRecordIndex[0] * 128 + code]];
  classes['\r'] |= kNewline;
  classes['\n'] |= kNewline;
  return classes;
}();

inline uint8_t class_of(uint32_t code) {
  if (code < 128) return kAsciiClass[code];
  return kRecordClass[kRecordPages[kRecordIndex[code >> 7] * 128 + (code & 127)]];
}

// Length of the sequence that a lead byte of valid UTF-8 starts.
inline uint32_t sequence_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

inline bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// The code point at `p` of valid UTF-8; `length` becomes its bytes.
inline uint32_t decode(const char* p, uint32_t& length) {
  const auto* b = reinterpret_cast<const uint8_t*>(p);
  if (b[0] < 0x80) return length = 1, b[0];
  if (b[0] < 0xE0) return length = 2, (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
  if (b[0] < 0xF0) return length = 3, (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
  return length = 4, (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
}

// The code point that ends before `p`, which is not the beginning of the text.
inline uint32_t decode_before(const char* p, uint32_t& length) {
  const char* start = p - 1;
  while (is_continuation(*start)) --start;
  return decode(start, length);
}

// Writes `code` to `out` (four bytes of room) and returns the number of bytes.
inline uint32_t encode(uint32_t code, char* out) {
  if (code < 0x80) return out[0] = static_cast<char>(code), 1;
  if (code < 0x800) {
    out[0] = static_cast<char>(0xC0 | code >> 6);
    out[1] = static_cast<char>(0x80 | (code & 0x3F));
    return 2;
  }
  if (code < 0x10000) {
    out[0] = static_cast<char>(0xE0 | code >> 12);
    out[1] = static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out[2] = static_cast<char>(0x80 | (code & 0x3F));
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | code >> 18);
  out[1] = static_cast<char>(0x80 | (code >> 12 & 0x3F));
  out[2] = static_cast<char>(0x80 | (code >> 6 & 0x3F));
  out[3] = static_cast<char>(0x80 | (code & 0x3F));
  return 4;
}

inline void append(std::string& text, uint32_t code) {
  char bytes[4];
  text.append(bytes, encode(code, bytes));
}

// How many leading bytes are valid UTF-8.
size_t valid_prefix(std::string_view text);

// The text with each maximal invalid part replaced by U+FFFD, as Python and Rust do.
std::string replace_invalid(std::string_view text);

size_t count_code_points(std::string_view text);

// Lower case of one code point; U+0130 alone becomes two, of which this is the first (the second is U+0307).
uint32_t lowercase(uint32_t code);

// The precomposed code point of a pair, or 0.
uint32_t compose(uint32_t first, uint32_t second);

// Canonical combining class in Unicode 9.0.
uint8_t combining_class(uint32_t code);

// Full decomposition in Unicode 9.0 into `out` (at least 18 entries); returns how many.
uint32_t decompose(uint32_t code, bool compatibility, uint32_t* out);

}  // namespace backplane::text
