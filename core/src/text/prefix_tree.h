#pragma once

#include <bit>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/hash.h"
#include "text/vocabulary.h"

namespace backplane::text {

// All prefixes of a vocabulary's tokens, by code points: (node, code point) -> node in one flat table.
class PrefixTree {
 public:
  static constexpr uint32_t kRoot = 0, kNone = UINT32_MAX;

  PrefixTree() { clear(64); }

  // Adds a path of code points or bytes; the first id of equal paths stays.
  template <class Next>
  void add(std::string_view text, uint32_t id, Next next) {
    uint32_t node = kRoot;
    for (size_t i = 0; i < text.size();) node = insert(node, next(text.data() + i, i));
    if (ids_[node] == kNoId) ids_[node] = id;
  }
  void add_bytes(std::string_view text, uint32_t id) {
    add(text, id, [](const char* p, size_t& i) { return ++i, static_cast<uint8_t>(*p); });
  }

  void build(const Vocabulary& vocabulary) {
    clear(vocabulary.count() * 4);
    for (uint32_t id = 0; id < vocabulary.id_limit(); ++id) {
      if (!vocabulary.contains(id) || vocabulary.find(vocabulary.bytes(id)) != id) continue;
      add(vocabulary.bytes(id), id, [](const char* p, size_t& i) {
        uint32_t length;
        const uint32_t code = decode(p, length);
        return i += length, code;
      });
    }
  }

  uint32_t child(uint32_t node, uint32_t code) const {
    const uint64_t wanted = key(node, code);
    for (size_t i = hash_pair(wanted) >> shift_;; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == wanted) return slots_[i].node;
      if (slots_[i].key == UINT64_MAX) return kNone;
    }
  }
  // The token that ends at the node, or kNoId.
  uint32_t id(uint32_t node) const { return ids_[node]; }

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;
    uint32_t node = 0;
  };
  static uint64_t key(uint32_t node, uint32_t code) { return static_cast<uint64_t>(node) << 21 | code; }

  void clear(size_t room) {
    slots_.clear();
    grow(std::bit_ceil(std::max<size_t>(64, room)));
    ids_.assign(1, kNoId);
  }
  uint32_t insert(uint32_t node, uint32_t code) {
    if (ids_.size() * 2 > slots_.size()) grow(slots_.size() * 2);
    const uint64_t wanted = key(node, code);
    size_t i = hash_pair(wanted) >> shift_;
    for (; slots_[i].key != UINT64_MAX; i = (i + 1) & (slots_.size() - 1))
      if (slots_[i].key == wanted) return slots_[i].node;
    slots_[i] = {wanted, static_cast<uint32_t>(ids_.size())};
    ids_.push_back(kNoId);
    return slots_[i].node;
  }
  void grow(size_t size) {
    std::vector<Slot> old(size);
    old.swap(slots_);
    shift_ = 64 - std::countr_zero(size);
    for (const Slot& slot : old) {
      if (slot.key == UINT64_MAX) continue;
      size_t i = hash_pair(slot.key) >> shift_;
      while (slots_[i].key != UINT64_MAX) i = (i + 1) & (size - 1);
      slots_[i] = slot;
    }
  }

  std::vector<Slot> slots_;
  std::vector<uint32_t> ids_;
  int shift_ = 58;
};

}  // namespace backplane::text
