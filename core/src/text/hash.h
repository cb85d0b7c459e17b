#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace backplane::text {

inline uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t load8(const char* p) {
  uint64_t value;
  std::memcpy(&value, p, 8);
  return value;
}
inline uint64_t load4(const char* p) {
  uint32_t value;
  std::memcpy(&value, p, 4);
  return value;
}

// A fast hash of short strings (wyhash's folded multiplication). The seed is fixed: what an adversary can gain is bounded
// by the caps on a vocabulary's size.
inline uint64_t hash_bytes(const char* p, size_t size) {
  constexpr uint64_t k0 = 0xa0761d6478bd642full, k1 = 0xe7037ed1a0b428dbull;
  uint64_t a = 0, b = 0, seed = k0 ^ size;
  if (size >= 4 && size <= 16) {
    if (size >= 8) {
      a = load8(p);
      b = load8(p + size - 8);
    } else {
      a = load4(p);
      b = load4(p + size - 4);
    }
  } else if (size < 4) {
    if (size) a = static_cast<uint64_t>(static_cast<uint8_t>(p[0])) << 16 | static_cast<uint64_t>(static_cast<uint8_t>(p[size >> 1])) << 8 | static_cast<uint8_t>(p[size - 1]);
  } else {
    size_t left = size;
    for (; left > 16; left -= 16, p += 16) seed = mix(load8(p) ^ k1, load8(p + 8) ^ seed);
    a = load8(p + left - 16);
    b = load8(p + left - 8);
  }
  return mix(k1 ^ size, mix(a ^ k1, b ^ seed));
}

inline uint64_t hash_pair(uint64_t key) { return mix(key ^ 0xa0761d6478bd642full, 0xe7037ed1a0b428dbull); }

}  // namespace backplane::text
