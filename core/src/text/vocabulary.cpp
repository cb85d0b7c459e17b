#include "text/vocabulary.h"

#include <bit>

#include "text/json_fields.h"

namespace backplane::text {

void Vocabulary::reserve(size_t tokens, size_t bytes) {
  entries_.reserve(tokens);
  pool_.reserve(bytes);
}

void Vocabulary::add(std::string_view token, uint64_t id, const std::string& where) {
  if (id > kMaxId || id > 64 * entries_.size() + kHoles)
    bad(where, concat("the id ", id, " of '", token, "' is out of range after ", entries_.size(), " tokens"));
  if (pool_.size() + token.size() > UINT32_MAX) bad(where, "the tokens are longer than 4 GB");
  if (id >= entries_.size()) {
    if (id >= entries_.capacity()) entries_.reserve(std::max<size_t>(id + 1, 2 * entries_.capacity()));
    entries_.resize(id + 1);
  }
  Entry& entry = entries_[id];
  const auto offset = static_cast<uint32_t>(pool_.size());
  const bool mapped = byte_level_ && append_bytes_of(token, pool_);
  if (!mapped) pool_.append(token);
  const auto size = static_cast<uint32_t>(pool_.size() - offset);
  if (entry.size != kHole) bad(where, concat("the id ", id, " belongs to both '", this->token(static_cast<uint32_t>(id)), "' and '", token, "'"));
  entry = {offset, size, mapped};
}

void Vocabulary::finish() {
  const size_t size = std::bit_ceil(std::max<size_t>(16, entries_.size() * 2));
  slots_.assign(size, {});
  shift_ = 64 - std::countr_zero(size);
  for (uint32_t id = 0; id < entries_.size(); ++id) {
    Entry& entry = entries_[id];
    if (entry.size == kHole) continue;
    const std::string_view key = bytes(id);
    const uint64_t hash = hash_bytes(key.data(), key.size());
    const auto tag = static_cast<uint32_t>(hash);
    size_t i = hash >> shift_;
    for (; slots_[i].id != kNoId; i = (i + 1) & (size - 1)) {
      const Entry& other = entries_[slots_[i].id];
      if (slots_[i].tag == tag && other.mapped == entry.mapped && bytes(slots_[i].id) == key) break;
    }
    count_ += slots_[i].id == kNoId;
    slots_[i] = {tag, id};
  }
}

uint32_t Vocabulary::find_token(std::string_view token) const {
  if (!byte_level_) return find(token, false);
  std::string bytes;
  return append_bytes_of(token, bytes) ? find(bytes, true) : find(token, false);
}

std::string Vocabulary::token(uint32_t id) const {
  if (!entries_[id].mapped) return std::string(bytes(id));
  std::string text;
  append_byte_level(bytes(id), text);
  return text;
}

}  // namespace backplane::text
