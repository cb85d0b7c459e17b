#include "text/slow_tokenizer.h"

#include <algorithm>
#include <set>

#include "backplane/base/strings.h"
#include "text/python_text.h"
#include "text/unicode.h"

namespace backplane::text {

std::string SlowModel::join(std::vector<std::string> tokens, const std::vector<std::string>&) const { return backplane::join(tokens, " "); }
std::string SlowModel::prepare(std::string_view text, bool) const { return std::string(text); }
void SlowModel::finish(std::vector<std::string>&, const std::vector<std::string>&) const {}
std::optional<std::string> SlowModel::decode(const std::vector<std::string>&, const std::vector<std::string>&, bool) const { return std::nullopt; }

void SlowTokenizer::start(const std::map<int64_t, AddedToken>& added, const std::vector<AddedToken>& special) {
  added_ = added;
  for (const auto& [id, token] : added_) added_ids_[token.content] = id;
  count();
  std::vector<AddedToken> missing;
  for (const AddedToken& token : special)
    if (!added_ids_.contains(token.content)) missing.push_back(token);
  add_tokens(missing, true);
  for (const std::string& token : model_->landmarks()) look_for(token);
}

void SlowTokenizer::count() {
  if (model_->by_id()) {
    std::set<std::string> tokens;
    for (int64_t id = 0; id < model_->listed_ids(); ++id)
      if (auto token = this->token(id)) tokens.insert(std::move(*token));
    for (const auto& entry : added_ids_) tokens.insert(entry.first);
    total_ = static_cast<int64_t>(tokens.size());
    return;
  }
  total_ = model_->listed();
  for (const auto& entry : added_ids_) total_ += model_->listed_id(entry.first) == kNone;
}

int64_t SlowTokenizer::add_tokens(const std::vector<AddedToken>& tokens, bool special) {
  int64_t added = 0;
  const int64_t base = total_;
  for (AddedToken token : tokens) {
    if (token.content.empty()) continue;
    if (special) token.special = true;
    if (!token.special && token.normalized && model_->lower_case()) token.content = py::lower(token.content);
    int64_t id = kNone;
    if (const auto known = added_ids_.find(token.content); known != added_ids_.end()) id = known->second;
    if (id == kNone) id = model_->listed_id(token.content);
    if (id == kNone) id = base + added++;
    const auto all = state_.all_special_tokens();
    if (token.special && !py::contains(all, token.content)) state_.additional_special_tokens.push_back(token.content);
    added_[id] = token;
    added_ids_[token.content] = id;
  }
  for (const auto& [id, token] : added_) look_for(token.content);
  count();
  return added;
}

void SlowTokenizer::look_for(const std::string& token) {
  size_t node = 0;
  for (const std::string& c : py::characters(token)) {
    const auto [entry, is_new] = trie_[node].next.try_emplace(c, trie_.size());
    const size_t next = entry->second;
    if (is_new) trie_.emplace_back();
    node = next;
  }
  if (node) trie_[node].end = true;
}

// As the reference's trie cuts: the leftmost match, and of those the longest.
std::vector<std::string> SlowTokenizer::cut(std::string_view text) const {
  std::vector<std::string> parts;
  const auto characters = py::characters(text);
  std::string plain;
  for (size_t at = 0; at < characters.size();) {
    size_t node = 0, longest = 0;
    for (size_t i = at; i < characters.size(); ++i) {
      const auto next = trie_[node].next.find(characters[i]);
      if (next == trie_[node].next.end()) break;
      node = next->second;
      if (trie_[node].end) longest = i + 1;
    }
    if (longest == 0) {
      plain += characters[at++];
      continue;
    }
    if (!plain.empty()) parts.push_back(std::move(plain));
    plain.clear();
    parts.push_back(backplane::join({characters.begin() + static_cast<ptrdiff_t>(at), characters.begin() + static_cast<ptrdiff_t>(longest)}, ""));
    at = longest;
  }
  if (!plain.empty()) parts.push_back(std::move(plain));
  return parts;
}

std::vector<std::string> SlowTokenizer::tokenize(std::string_view input, bool is_word) const {
  const auto special = state_.all_special_tokens();
  std::string text = model_->prepare(input, is_word);
  if (model_->lower_case()) {
    // All but the tokens that must be found as they are; each character by itself.
    std::vector<std::string> kept = special;
    for (const auto& [id, token] : added_)
      if (!token.special && token.normalized) kept.push_back(token.content);
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const std::string_view rest = std::string_view(text).substr(at);
      const auto found = std::find_if(kept.begin(), kept.end(), [&](const std::string& token) { return rest.starts_with(token); });
      const size_t length = found != kept.end() ? found->size() : sequence_length(rest[0]);
      out += found != kept.end() ? *found : py::lower(rest.substr(0, length));
      at += length;
    }
    text = std::move(out);
  }
  const bool whole = state_.split_special_tokens;
  std::vector<std::string> parts = whole ? std::vector<std::string>{text} : cut(text);
  const auto is_added = [&](const std::string& part) { return !whole && added_ids_.contains(part); };
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!is_added(parts[i])) continue;
    const AddedToken& token = added_.at(added_ids_.at(parts[i]));
    const std::string left = i > 0 ? parts[i - 1] : "", right = i + 1 < parts.size() ? parts[i + 1] : "";
    if (token.rstrip && !right.empty()) parts[i + 1] = py::lstrip(right);
    if (token.lstrip && !left.empty()) parts[i - 1] = py::rstrip(left);
    if (token.single_word && !left.empty() && left.back() != ' ') {
      parts[i - 1] += token.content;
      parts[i].clear();
    } else if (token.single_word && !right.empty() && right[0] != ' ') {
      parts[i + 1] = token.content + parts[i + 1];
      parts[i].clear();
    }
  }
  std::vector<std::string> tokens;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    if (is_added(part)) {
      tokens.push_back(part);
    } else {
      for (std::string& token : model_->tokenize(part, special)) tokens.push_back(std::move(token));
    }
  }
  model_->finish(tokens, special);
  return tokens;
}

std::vector<std::string> SlowTokenizer::tokenize_marked(std::string_view text, const std::vector<std::pair<size_t, size_t>>& plain) const {
  std::vector<std::string> tokens;
  const auto add = [&](std::vector<std::string> more) { tokens.insert(tokens.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end())); };
  size_t at = 0;
  for (const auto& [begin, end] : plain) {
    if (begin < at || end < begin || end > text.size()) throw Error(ErrorCode::invalid_value, "the plain spans are not in order within the text");
    if (at < begin) add(tokenize(text.substr(at, begin - at)));
    if (begin < end) add(model_->tokenize(text.substr(begin, end - begin), {}));
    at = end;
  }
  if (at < text.size()) add(tokenize(text.substr(at)));
  return tokens;
}

int64_t SlowTokenizer::id(const std::string& token) const {
  const auto found = added_ids_.find(token);
  return found != added_ids_.end() ? found->second : model_->id(token);
}

std::optional<std::string> SlowTokenizer::token(int64_t id) const {
  const auto found = added_.find(id);
  return found != added_.end() ? found->second.content : model_->token(id);
}

std::string SlowTokenizer::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  const auto special = state_.all_special_tokens();
  std::set<int64_t> special_ids;
  for (const std::string& token : special) special_ids.insert(id(token));
  std::vector<std::string> tokens;
  for (const int64_t id : ids) {
    if (skip_special && special_ids.contains(id)) continue;
    const auto text = token(id);
    if (!text) throw Error(ErrorCode::invalid_value, concat("id ", id, " is no token of the vocabulary"));
    tokens.push_back(*text);
  }
  if (auto own = model_->decode(tokens, special, skip_special)) return std::move(*own);

  const auto decoding = model_->decoding();
  const bool apart = decoding == SlowModel::Decoding::apart || decoding == SlowModel::Decoding::apart_spaced;
  const auto& additional = state_.additional_special_tokens;
  const auto stands_alone = [&](const std::string& token) {
    if (apart) return added_ids_.contains(token);
    if (py::contains(additional, token) && id(token) >= model_->size()) return true;
    return added_ids_.contains(token) && !py::contains(special, token);
  };
  std::vector<std::string> texts, run;
  for (const std::string& token : tokens) {
    if (skip_special && !apart && py::contains(special, token)) continue;
    if (!stands_alone(token)) {
      run.push_back(token);
      continue;
    }
    if (!run.empty()) {
      std::string text = model_->join(std::move(run), special);
      if (!text.empty() || apart) texts.push_back(std::move(text));
      run.clear();
    }
    texts.push_back(token);
  }
  if (!run.empty()) texts.push_back(model_->join(std::move(run), special));
  const bool blanks = decoding == SlowModel::Decoding::spaced || decoding == SlowModel::Decoding::apart_spaced;
  return model_->finish_decoding(backplane::join(texts, blanks ? " " : ""));
}

}  // namespace backplane::text
