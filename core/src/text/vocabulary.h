#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_level.h"
#include "text/hash.h"

namespace backplane::text {

inline constexpr uint32_t kNoId = UINT32_MAX;
// Ids may have holes, but not so many that a few bytes of JSON ask for gigabytes.
inline constexpr uint64_t kMaxId = 1u << 28;
inline constexpr uint64_t kHoles = 1u << 22;

// Tokens and their ids. With `byte_level`, a token written in GPT-2's alphabet is kept as the bytes that it stands for,
// so that the model works on the text itself.
class Vocabulary {
 public:
  explicit Vocabulary(bool byte_level = false) : byte_level_(byte_level) {}

  void reserve(size_t tokens, size_t bytes);
  // `token` as in the file. The last of two equal tokens wins. Throws `bad_tokenizer` naming `where`.
  void add(std::string_view token, uint64_t id, const std::string& where);
  // To be called once, after the last add.
  void finish();

  bool byte_level() const { return byte_level_; }
  // How many tokens; and one more than the largest id.
  size_t count() const { return count_; }
  size_t id_limit() const { return entries_.size(); }

  // The id of bytes as the model sees them, or kNoId.
  uint32_t find(std::string_view bytes) const { return find(bytes, byte_level_); }
  // The id of a token as it is written in the file, or kNoId.
  uint32_t find_token(std::string_view token) const;
  // The same for bytes that a token of GPT-2's alphabet stands for.
  uint32_t find_mapped(std::string_view bytes) const { return find(bytes, true); }
  // The bytes as the model sees them; `id` must be a token's.
  std::string_view bytes(uint32_t id) const { return {pool_.data() + entries_[id].offset, entries_[id].size}; }
  bool contains(uint64_t id) const { return id < entries_.size() && entries_[id].size != kHole; }
  // The token as it is written in the file.
  std::string token(uint32_t id) const;

 private:
  static constexpr uint32_t kHole = UINT32_MAX;
  struct Entry {
    uint32_t offset = 0, size = kHole;
    bool mapped = false;  // the bytes are not the token's text but what it stands for
  };
  struct Slot {
    uint32_t tag = 0, id = kNoId;
  };

  uint32_t find(std::string_view bytes, bool mapped) const {
    if (slots_.empty()) return kNoId;
    const uint64_t hash = hash_bytes(bytes.data(), bytes.size());
    const auto tag = static_cast<uint32_t>(hash);
    for (size_t i = hash >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
      const Slot slot = slots_[i];
      if (slot.id == kNoId) return kNoId;
      if (slot.tag != tag) continue;
      const Entry& entry = entries_[slot.id];
      if (entry.size == bytes.size() && entry.mapped == mapped && std::memcmp(pool_.data() + entry.offset, bytes.data(), bytes.size()) == 0)
        return slot.id;
    }
  }

  bool byte_level_;
  size_t count_ = 0;
  int shift_ = 63;
  std::string pool_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
};

}  // namespace backplane::text
