#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backplane/text/tokenizer.h"
#include "text/model.h"
#include "text/normalizers.h"
#include "text/prefix_tree.h"

namespace backplane::text {

// The added tokens of a tokenizer, and the search for them. Members follow Rust's AddedVocabulary, whose behaviour with
// tokens that are added twice with other settings matters.
class AddedVocabulary {
 public:
  // A part of a text: an added token, or text in between (id kNoId).
  struct Part {
    uint32_t id;
    Span span;
  };

  // Returns how many were not there already.
  size_t add(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary, const Normalizer* normalizer);

  // The parts that cover `text`; none for an empty one. `normalized`: look for the tokens that want normalized text.
  // Where `refuses` says so, a token that was found is plain text.
  using Refuses = std::function<bool(const AddedToken&, Span)>;
  void split(std::string_view text, bool normalized, std::vector<Part>& parts, const Refuses& refuses = {}) const;
  bool looks_in_normalized() const { return !normalized_.ids.empty(); }

  uint32_t find(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? kNoId : found->second;
  }
  const AddedToken* token(uint32_t id) const {
    const auto found = tokens_.find(id);
    return found == tokens_.end() ? nullptr : &found->second;
  }
  bool is_special(std::string_view token) const { return special_set_.count(token) > 0; }
  const std::map<uint32_t, AddedToken>& tokens() const { return tokens_; }
  const std::map<std::string, uint32_t, std::less<>>& ids() const { return ids_; }

 private:
  struct Search {
    PrefixTree tree;
    std::vector<uint32_t> ids;   // of the tree's patterns
    bool starts[256] = {};
  };
  void rebuild(const Vocabulary& vocabulary, const Normalizer* normalizer);

  std::map<std::string, uint32_t, std::less<>> ids_;
  std::map<uint32_t, AddedToken> tokens_;
  std::vector<AddedToken> plain_, special_;
  std::set<std::string, std::less<>> special_set_;
  Search verbatim_, normalized_;
};

}  // namespace backplane::text
