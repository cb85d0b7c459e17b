#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/unicode.h"

namespace backplane::text {

// GPT-2's alphabet: every byte has a visible character; those without one of their own come from U+0100 on.
inline constexpr auto kByteToCode = [] {
  std::array<uint16_t, 256> codes{};
  uint16_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    codes[static_cast<size_t>(byte)] = visible ? static_cast<uint16_t>(byte) : next++;
  }
  return codes;
}();

// The byte of a character of the alphabet, or -1.
inline constexpr auto kCodeToByte = [] {
  std::array<int16_t, 324> bytes{};
  for (auto& byte : bytes) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) bytes[kByteToCode[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

// Appends the bytes that `text` stands for; false, with nothing appended, if some character is not of the alphabet.
inline bool append_bytes_of(std::string_view text, std::string& out) {
  const size_t size = out.size();
  for (size_t i = 0; i < text.size();) {
    uint32_t length;
    const uint32_t code = decode(text.data() + i, length);
    if (code >= kCodeToByte.size() || kCodeToByte[code] < 0) return out.resize(size), false;
    out.push_back(static_cast<char>(kCodeToByte[code]));
    i += length;
  }
  return true;
}

inline void append_byte_level(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) append(out, kByteToCode[static_cast<uint8_t>(byte)]);
}

}  // namespace backplane::text
