#include "text/added_vocabulary.h"

namespace backplane::text {

size_t AddedVocabulary::add(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary, const Normalizer* normalizer) {
  for (const AddedToken& token : tokens)
    if (token.special && !token.content.empty() && special_set_.insert(token.content).second) special_.push_back(token);

  const auto size = static_cast<uint32_t>(vocabulary.count());
  uint32_t largest = 0;
  for (const auto& [content, id] : ids_) largest = std::max(largest, id);
  size_t ignored = 0;
  for (const AddedToken& token : tokens) {
    const uint32_t known = find(token.content);
    const AddedToken* same = known == kNoId ? nullptr : this->token(known);
    if (token.content.empty() || (same && *same == token)) {
      ++ignored;
      continue;
    }
    uint32_t id = known;
    if (id == kNoId) id = vocabulary.find_token(token.content);
    if (id == kNoId) id = ids_.empty() ? size : largest >= size || size == 0 ? largest + 1 : size;
    ids_[token.content] = id;
    tokens_[id] = token;
    largest = std::max(largest, id);
    if (!is_special(token.content)) plain_.push_back(token);
  }
  rebuild(vocabulary, normalizer);
  return tokens.size() - ignored;
}

void AddedVocabulary::rebuild(const Vocabulary& vocabulary, const Normalizer* normalizer) {
  verbatim_ = {};
  normalized_ = {};
  AlignedText text;
  for (const auto* list : {&special_, &plain_}) {
    for (const AddedToken& token : *list) {
      uint32_t id = find(token.content);
      if (id == kNoId) id = vocabulary.find_token(token.content);
      text.reset(token.content, 0, false);
      if (token.normalized && normalizer) normalizer->apply(text);
      if (text.text().empty() || id == kNoId) continue;
      Search& search = token.normalized ? normalized_ : verbatim_;
      search.tree.add_bytes(text.text(), static_cast<uint32_t>(search.ids.size()));
      search.ids.push_back(id);
      search.starts[static_cast<uint8_t>(text.text()[0])] = true;
    }
  }
}

void AddedVocabulary::split(std::string_view text, bool normalized, std::vector<Part>& parts, const Refuses& refuses) const {
  const Search& search = normalized ? normalized_ : verbatim_;
  const auto size = static_cast<uint32_t>(text.size());
  uint32_t done = 0;
  uint32_t length;
  for (uint32_t at = 0; !search.ids.empty() && at < size;) {
    if (!search.starts[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    uint32_t node = PrefixTree::kRoot, pattern = kNoId, end = at;
    for (uint32_t i = at; i < size; ++i) {
      node = search.tree.child(node, static_cast<uint8_t>(text[i]));
      if (node == PrefixTree::kNone) break;
      if (search.tree.id(node) != kNoId) pattern = search.tree.id(node), end = i + 1;
    }
    if (pattern == kNoId) {
      ++at;
      continue;
    }
    uint32_t begin = at, stop = end;
    at = end;
    const uint32_t id = search.ids[pattern];
    const AddedToken& token = tokens_.at(id);
    if (refuses && refuses(token, {begin, stop})) {
      at = begin + 1;
      continue;
    }
    if (token.single_word) {
      const bool before = begin > 0 && is_word(decode_before(text.data() + begin, length));
      const bool after = stop < size && is_word(decode(text.data() + stop, length));
      if (before || after) continue;
    }
    if (token.lstrip)
      while (begin > done && is_white_space(decode_before(text.data() + begin, length))) begin -= length;
    if (token.rstrip)
      while (stop < size && is_white_space(decode(text.data() + stop, length))) stop += length;
    if (done < begin) parts.push_back({kNoId, {done, begin}});
    parts.push_back({id, {begin, stop}});
    done = stop;
  }
  if (done < size) parts.push_back({kNoId, {done, size}});
}

}  // namespace backplane::text
