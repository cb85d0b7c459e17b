#include "text/byte_trie.h"

#include <algorithm>
#include <bit>

namespace backplane::text {

ByteTrie::ByteTrie(const Vocabulary& vocabulary) : shorter_(vocabulary.id_limit(), kNoId) {
  struct Key {
    uint64_t head;  // the first eight bytes, for comparing
    uint32_t id;
  };
  std::vector<Key> keys;
  keys.reserve(vocabulary.count());
  for (uint32_t id = 0; id < vocabulary.id_limit(); ++id) {
    if (!vocabulary.contains(id)) continue;
    const std::string_view bytes = vocabulary.bytes(id);
    if (bytes.empty() || vocabulary.find(bytes) != id) continue;
    uint64_t head = 0;
    for (size_t i = 0; i < 8; ++i) head = head << 8 | (i < bytes.size() ? static_cast<uint8_t>(bytes[i]) : 0);
    keys.push_back({head, id});
  }
  std::sort(keys.begin(), keys.end(), [&](const Key& a, const Key& b) {
    return a.head != b.head ? a.head < b.head : vocabulary.bytes(a.id) < vocabulary.bytes(b.id);
  });

  // The children of a node stand together, and what is below a node near it.
  struct Range {
    uint32_t node, begin, end, depth, above;  // keys that share the node's path; the token nearest above
  };
  std::vector<Range> ranges{{0, 0, static_cast<uint32_t>(keys.size()), 0, kNoId}};
  nodes_.emplace_back();
  while (!ranges.empty()) {
    Range range = ranges.back();
    ranges.pop_back();
    // The one key that ends here comes first.
    if (range.begin < range.end && vocabulary.bytes(keys[range.begin].id).size() == range.depth) {
      const uint32_t id = keys[range.begin++].id;
      nodes_[range.node].id = id;
      shorter_[id] = range.above;
      range.above = id;
    }
    const auto first = static_cast<uint32_t>(nodes_.size());
    for (uint32_t i = range.begin; i < range.end;) {
      const char label = vocabulary.bytes(keys[i].id)[range.depth];
      uint32_t end = i + 1;
      while (end < range.end && vocabulary.bytes(keys[end].id)[range.depth] == label) ++end;
      ranges.push_back({static_cast<uint32_t>(nodes_.size()), i, end, range.depth + 1, range.above});
      nodes_.emplace_back().label = static_cast<uint8_t>(label);
      i = end;
    }
    std::reverse(ranges.end() - static_cast<ptrdiff_t>(nodes_.size() - first), ranges.end());
    Node& node = nodes_[range.node];
    node.first = first;
    node.count = static_cast<uint16_t>(nodes_.size() - first);
    if (node.count < kDense) continue;
    node.dense = true;
    node.first = static_cast<uint32_t>(dense_.size());
    dense_.resize(dense_.size() + 256, 0);
    for (uint32_t child = first; child < nodes_.size(); ++child) dense_[node.first + nodes_[child].label] = child;
  }

  characters_.assign(0x10000, 0);
  char buffer[4];
  for (uint32_t code = 0x800; code < 0x10000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    encode(code, buffer);
    uint32_t node = 0;
    for (int i = 0; i < 3 && (i == 0 || node); ++i) node = child(node, static_cast<uint8_t>(buffer[i]));
    if (node && nodes_[node].id != kNoId) characters_[code] = node;
  }
}

}  // namespace backplane::text
