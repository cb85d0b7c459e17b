#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace backplane::text {

// The tokens of a vocabulary as a trie over bytes, for finding the longest token at a position.
class ByteTrie {
 public:
  explicit ByteTrie(const Vocabulary& vocabulary);

  // The longest token that `text` starts with, or kNoId.
  uint32_t longest(std::string_view text) const {
    uint32_t best = kNoId, node = 0;
    if (text.size() >= 3 && static_cast<uint8_t>(text[0]) >= 0xE0 && static_cast<uint8_t>(text[0]) < 0xF0 && is_continuation(text[1])) {
      uint32_t length;
      const uint32_t start = characters_[decode(text.data(), length) & 0xFFFF];
      if (start) {
        node = start;
        best = nodes_[node].id;
        text.remove_prefix(3);
      }
    }
    for (const char c : text) {
      node = child(node, static_cast<uint8_t>(c));
      if (!node) break;
      if (nodes_[node].id != kNoId) best = nodes_[node].id;
    }
    return best;
  }
  // Calls visit(length, id) for every token that `text` starts with, shortest first.
  template <class Visit>
  void each(std::string_view text, Visit visit) const {
    uint32_t node = 0;
    for (uint32_t i = 0; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (!node) return;
      if (nodes_[node].id != kNoId) visit(i + 1, nodes_[node].id);
    }
  }
  // The longest token that is a proper prefix of the token, or kNoId.
  uint32_t shorter(uint32_t id) const { return shorter_[id]; }

 private:
  struct Node {
    uint32_t id = kNoId;
    uint32_t first = 0;  // of the children: a node, or where the table of a dense node begins
    uint16_t count = 0;
    uint8_t label = 0;  // the byte that leads here
    bool dense = false;
  };
  static constexpr size_t kDense = 12;

  // 0: there is none.
  uint32_t child(uint32_t node, uint8_t label) const {
    const Node& at = nodes_[node];
    if (at.dense) return dense_[at.first + label];
    for (uint32_t i = at.first; i < at.first + at.count; ++i)
      if (nodes_[i].label == label) return i;
    return 0;
  }

  std::vector<Node> nodes_;
  std::vector<uint32_t> characters_;  // where a token of one character of three bytes ends, by code point; or 0
  std::vector<uint32_t> dense_;
  std::vector<uint32_t> shorter_;
};

}  // namespace backplane::text
