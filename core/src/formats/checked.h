#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

// Arithmetic on numbers that came out of a file.
namespace backplane {

template <class T>
T load_little(const std::byte* bytes) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// Bytes of a dense tensor; nothing where a size is negative or the product does not fit 63 bits.
inline std::optional<uint64_t> checked_bytes(std::span<const int64_t> shape, uint64_t element_bytes) {
  int64_t bytes = static_cast<int64_t>(element_bytes);
  for (int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) return std::nullopt;
  }
  return static_cast<uint64_t>(bytes);
}

bool is_utf8(std::string_view text);

}  // namespace backplane
