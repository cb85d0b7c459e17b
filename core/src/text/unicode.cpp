#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>

namespace backplane::text {
namespace {

// Bytes of the valid sequence at the start of `p`, or 0; `bad` becomes how many bytes one replacement stands for.
uint32_t sequence_at(const uint8_t* p, size_t room, uint32_t& bad) {
  bad = 1;
  const uint8_t lead = p[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const uint32_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (uint32_t i = 1; i < length; ++i) {
    uint8_t low = 0x80, high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (i >= room || p[i] < low || p[i] > high) return 0;
    bad = i + 1;
  }
  return length;
}

constexpr uint32_t kHangulS = 0xAC00, kHangulL = 0x1100, kHangulV = 0x1161, kHangulT = 0x11A7;

}  // namespace

size_t valid_prefix(std::string_view text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  size_t i = 0;
  const size_t size = text.size();
  while (i < size) {
    uint64_t word;
    while (i + 8 <= size && (std::memcpy(&word, p + i, 8), (word & 0x8080808080808080u) == 0)) i += 8;
    // Most text beyond ASCII is sequences of three bytes.
    while (i + 3 <= size && p[i] > 0xE0 && p[i] < 0xED && (p[i + 1] & 0xC0) == 0x80 && (p[i + 2] & 0xC0) == 0x80) i += 3;
    if (i >= size) break;
    uint32_t bad;
    const uint32_t length = sequence_at(p + i, size - i, bad);
    if (!length) return i;
    i += length;
  }
  return i;
}

std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  while (!text.empty()) {
    const size_t good = valid_prefix(text);
    out.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    uint32_t bad;
    sequence_at(reinterpret_cast<const uint8_t*>(text.data()), text.size(), bad);
    out.append("\xEF\xBF\xBD");
    text.remove_prefix(bad);
  }
  return out;
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) { return !is_continuation(byte); }));
}

uint32_t lowercase(uint32_t code) {
  if (code < 128) return code >= 'A' && code <= 'Z' ? code + 32 : code;
  if (!(record_of(code) & kLowers)) return code;
  if (code == 0x130) return 'i';
  const auto* found = std::lower_bound(std::begin(kLowerFrom), std::end(kLowerFrom), code);
  return kLowerTo[found - std::begin(kLowerFrom)];
}

uint32_t compose(uint32_t first, uint32_t second) {
  if (first - kHangulL < 19 && second - kHangulV < 21) return kHangulS + ((first - kHangulL) * 21 + second - kHangulV) * 28;
  if (first - kHangulS < 11172 && (first - kHangulS) % 28 == 0 && second > kHangulT && second < kHangulT + 28)
    return first + second - kHangulT;
  const auto* end = std::end(kCompositions);
  const auto* found = std::lower_bound(std::begin(kCompositions), end, std::pair(first, second),
                                       [](const CodePointPair& entry, const std::pair<uint32_t, uint32_t>& key) {
                                         return std::pair(entry.first, entry.second) < key;
                                       });
  return found != end && found->first == first && found->second == second ? found->value : 0;
}

uint8_t combining_class(uint32_t code) {
  if (!(record_of(code) & kCombining)) return 0;
  return static_cast<uint8_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class);
}

uint32_t decompose(uint32_t code, bool compatibility, uint32_t* out) {
  if (!(record_of(code) & (compatibility ? kNfkdChanges : kNfdChanges))) return out[0] = code, 1;
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : utf8proc_option_t(0)));
  utf8proc_int32_t buffer[18];
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), buffer, 18, options, &boundary);
  std::copy(buffer, buffer + count, out);
  return static_cast<uint32_t>(count);
}

}  // namespace backplane::text
