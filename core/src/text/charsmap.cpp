#include "text/charsmap.h"

#include <utf8proc.h>

#include <array>
#include <cstring>

#include "text/json_fields.h"
#include "text/unicode.h"

namespace backplane::text {
namespace {

// A unit of the double array, as darts-clone packs it.
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t label(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }
uint32_t value(uint32_t unit) { return unit & 0x7FFFFFFFu; }

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& where) {
  uint32_t size = 0;
  if (bytes.size() < 4) bad(where, concat("the table has ", bytes.size(), " bytes, expected at least 4"));
  std::memcpy(&size, bytes.data(), 4);
  if (size % 4 || size > bytes.size() - 4)
    bad(where, concat("the double array has ", size, " bytes, ", bytes.size() - 4, " are there"));
  units_.resize(size / 4);
  if (size) std::memcpy(units_.data(), bytes.data() + 4, size);
  strings_ = bytes.substr(4 + size);
  if (valid_prefix(strings_) != strings_.size()) bad(where, "the replacements are not UTF-8");

  std::string_view ignored;
  char buffer[4];
  for (uint32_t code = 0; code < 0x10000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    const auto boundary = utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->boundclass;
    plain_[code] = boundary == UTF8PROC_BOUNDCLASS_OTHER && !find({buffer, encode(code, buffer)}, ignored);
  }
}

bool Charsmap::find(std::string_view chunk, std::string_view& replacement) const {
  if (units_.empty()) return false;
  uint64_t node = offset(units_[0]);
  for (const char c : chunk) {
    const auto byte = static_cast<uint8_t>(c);
    if (!byte) return false;
    node ^= byte;
    if (node >= units_.size()) return false;
    const uint32_t unit = units_[node];
    if (label(unit) != byte) return false;
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= units_.size()) return false;
    const uint32_t start = value(units_[node]);
    if (start > strings_.size()) return false;
    const size_t end = strings_.find('\0', start);
    replacement = std::string_view(strings_).substr(start, end == std::string::npos ? end : end - start);
    return true;
  }
  return false;
}

std::string decode_base64(std::string_view text, const std::string& where) {
  static constexpr auto kValues = [] {
    std::array<int8_t, 256> values{};
    values.fill(-1);
    for (int i = 0; i < 64; ++i)
      values[static_cast<uint8_t>("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[i])] = static_cast<int8_t>(i);
    return values;
  }();
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  out.reserve(text.size() / 4 * 3 + 3);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int8_t six = kValues[static_cast<uint8_t>(c)];
    if (six < 0) bad(where, "the text is not base64");
    bits = bits << 6 | static_cast<uint32_t>(six);
    if ((count += 6) >= 8) out.push_back(static_cast<char>(bits >> (count -= 8) & 0xFF));
  }
  return out;
}

}  // namespace backplane::text
