#include "text/sentencepiece.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <queue>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"

namespace backplane::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr double kUnknownPenalty = 10.0;
constexpr size_t kMaximumMatches = 32;  // prefixes that the library looks at in the character map

[[noreturn]] void bad(const std::string& name, const std::string& what) {
  throw Error(ErrorCode::bad_tokenizer, concat(name, " is no SentencePiece model: ", what));
}

// The fields of one protobuf message, in order.
class Message {
 public:
  Message(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  bool next() {
    if (at_ >= bytes_.size()) return false;
    const uint64_t tag = varint();
    field = tag >> 3;
    switch (tag & 7) {
      case 0: number = varint(); break;
      case 1: take(8); break;
      case 2: {
        const uint64_t size = varint();
        if (size > bytes_.size() - at_) bad(name_, concat("a field of ", size, " bytes at byte ", at_, ", where ", bytes_.size() - at_, " are left"));
        text = bytes_.substr(at_, size);
        at_ += size;
        break;
      }
      case 5: take(4); break;
      default: bad(name_, concat("wire type ", tag & 7, " at byte ", at_));
    }
    return true;
  }
  float real() const {
    if (text.size() != 4) bad(name_, "a score that is no float");
    float value;
    std::memcpy(&value, text.data(), 4);
    return value;
  }

  uint64_t field = 0, number = 0;
  std::string_view text;

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ >= bytes_.size()) break;
      const auto byte = static_cast<uint8_t>(bytes_[at_++]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    bad(name_, concat("it ends within a number, at byte ", at_));
  }
  void take(size_t size) {
    if (size > bytes_.size() - at_) bad(name_, concat("it ends at byte ", bytes_.size(), ", within a field"));
    text = bytes_.substr(at_, size);
    at_ += size;
  }

  std::string_view bytes_;
  const std::string& name_;
  size_t at_ = 0;
};

size_t lead_length(char lead) {
  const auto byte = static_cast<uint8_t>(lead);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// The length of the valid UTF-8 sequence at the beginning, or 0.
size_t valid_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const size_t length = byte(0) >= 0xF5 ? 0 : byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : byte(0) >= 0xC2 ? 2 : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if ((byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) > 0x9F) || (byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) > 0x8F)) return 0;
  return length;
}

// "<0x0A>" to 10, or -1.
int byte_of(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int value = 0;
  for (size_t i = 3; i < 5; ++i) {
    const char c = piece[i];
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::string byte_piece(uint8_t byte) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
}

// A unit of the double array, as darts-clone packs it.
bool has_leaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t label(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 0x200u) >> 6); }

}  // namespace

SentencePiece SentencePiece::from_file(const std::string& path) { return parse(read_file(path, limits::kTokenizerBytes), "'" + path + "'"); }

SentencePiece SentencePiece::parse(std::string_view bytes, const std::string& name) {
  SentencePiece model;
  Message fields(bytes, name);
  while (fields.next()) {
    Message inner(fields.text, name);
    if (fields.field == 1) {
      Piece piece;
      while (inner.next()) {
        if (inner.field == 1) piece.text = inner.text;
        if (inner.field == 2) piece.score = inner.real();
        if (inner.field == 3) {
          if (inner.number < 1 || inner.number > 6) bad(name, concat("piece ", model.pieces_.size(), " has type ", inner.number));
          piece.type = static_cast<PieceType>(inner.number);
        }
      }
      model.pieces_.push_back(std::move(piece));
    } else if (fields.field == 2) {
      while (inner.next()) {
        if (inner.field == 3) {
          if (inner.number < 1 || inner.number > 4) bad(name, concat("model type ", inner.number));
          model.algorithm_ = static_cast<Algorithm>(inner.number);
        }
        if (inner.field == 24) model.space_suffix_ = inner.number != 0;
        if (inner.field == 35) model.byte_fallback_ = inner.number != 0;
        if (inner.field == 40) model.trained_unknown_id_ = static_cast<int64_t>(inner.number & 0xFFFFFFFF);
        if (inner.field == 45) model.trained_unknown_piece_ = inner.text;
        if (inner.field == 44) model.unknown_surface_ = inner.text;
      }
    } else if (fields.field == 3) {
      while (inner.next()) {
        if (inner.field == 2) model.normalization_.charsmap = inner.text;
        if (inner.field == 3) model.normalization_.dummy_prefix = inner.number != 0;
        if (inner.field == 4) model.normalization_.remove_extra_spaces = inner.number != 0;
        if (inner.field == 5) model.normalization_.escape_spaces = inner.number != 0;
      }
    }
  }
  model.finish(name);
  return model;
}

void SentencePiece::finish(const std::string& name) {
  if (pieces_.empty()) bad(name, "it has no pieces");
  bool unknown = false;
  min_score_ = std::numeric_limits<float>::max();
  max_score_ = std::numeric_limits<float>::lowest();
  trie_.emplace_back();
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    if (piece.text.empty()) bad(name, concat("piece ", i, " is empty"));
    if (piece.type == PieceType::unknown) {
      unknown_ = static_cast<int64_t>(i);
      unknown = true;
    }
    if (piece.type == PieceType::byte && byte_of(piece.text) < 0) bad(name, concat("byte piece ", i, " is not written <0x..>"));
    has_user_defined_ |= piece.type == PieceType::user_defined;
    const bool plain = piece.type == PieceType::normal || piece.type == PieceType::user_defined || piece.type == PieceType::unused;
    (plain ? ids_ : reserved_).try_emplace(piece.text, static_cast<int64_t>(i));
    if (!plain) continue;
    if (piece.type == PieceType::normal) {
      min_score_ = std::min(min_score_, piece.score);
      max_score_ = std::max(max_score_, piece.score);
    }
    uint32_t node = 0;
    for (const char c : piece.text) {
      const auto byte = static_cast<uint8_t>(c);
      uint32_t next = child(node, byte);
      if (next == 0) {
        next = static_cast<uint32_t>(trie_.size());
        auto& list = trie_[node].next;
        list.insert(std::upper_bound(list.begin(), list.end(), std::pair{byte, 0u}), {byte, next});
        trie_.emplace_back();
      }
      node = next;
    }
    if (trie_[node].id < 0) trie_[node].id = static_cast<int64_t>(i);
  }
  if (!unknown) bad(name, "it has no unknown piece");
  const std::string& map = normalization_.charsmap;
  if (map.empty()) return;
  uint32_t size = 0;
  if (map.size() < 4) bad(name, "its character map has less than 4 bytes");
  std::memcpy(&size, map.data(), 4);
  if (size % 4 || size > map.size() - 4) bad(name, concat("its double array has ", size, " bytes, ", map.size() - 4, " are there"));
  units_.resize(size / 4);
  if (size) std::memcpy(units_.data(), map.data() + 4, size);
  replacements_ = map.substr(4 + size);
}

uint32_t SentencePiece::child(uint32_t node, uint8_t byte) const {
  const auto& list = trie_[node].next;
  const auto found = std::lower_bound(list.begin(), list.end(), std::pair{byte, 0u});
  return found != list.end() && found->first == byte ? found->second : 0;
}

int64_t SentencePiece::id(std::string_view piece) const {
  const std::string key(piece);
  if (const auto found = reserved_.find(key); found != reserved_.end()) return found->second;
  const auto found = ids_.find(key);
  return found == ids_.end() ? unknown_ : found->second;
}

size_t SentencePiece::longest_user_defined(std::string_view text) const {
  size_t longest = 0;
  if (!has_user_defined_) return 0;
  uint32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node == 0) break;
    const int64_t id = trie_[node].id;
    if (id >= 0 && pieces_[static_cast<size_t>(id)].type == PieceType::user_defined) longest = i + 1;
  }
  return longest;
}

// What the beginning of `text` becomes, and how many bytes it takes.
std::pair<std::string_view, size_t> SentencePiece::normalize_prefix(std::string_view text) const {
  if (const size_t length = longest_user_defined(text)) return {text.substr(0, length), length};
  size_t matches = 0, longest = 0;
  uint32_t value = 0;
  if (!units_.empty()) {
    uint64_t node = offset(units_[0]);
    for (size_t i = 0; i < text.size() && matches < kMaximumMatches; ++i) {
      const auto byte = static_cast<uint8_t>(text[i]);
      node ^= byte;
      if (byte == 0 || node >= units_.size() || label(units_[node]) != byte) break;
      const uint32_t unit = units_[node];
      node ^= offset(unit);
      if (!has_leaf(unit)) continue;
      if (node >= units_.size()) break;
      ++matches;
      longest = i + 1;
      value = units_[node] & 0x7FFFFFFFu;
    }
  }
  if (longest == 0 || value > replacements_.size()) {
    const size_t length = valid_length(text);
    if (length == 0) return {kReplacement, 1};
    return {text.substr(0, length), length};
  }
  const size_t end = replacements_.find('\0', value);
  return {std::string_view(replacements_).substr(value, end == std::string::npos ? end : end - value), longest};
}

std::string SentencePiece::normalize(std::string_view text) const {
  std::string out;
  const bool remove = normalization_.remove_extra_spaces;
  const std::string_view space = normalization_.escape_spaces ? kSpaceSymbol : " ";
  while (remove && !text.empty()) {
    const auto [prefix, length] = normalize_prefix(text);
    if (prefix != " ") break;
    text.remove_prefix(length);
  }
  if (text.empty()) return out;
  if (!space_suffix_ && normalization_.dummy_prefix) out += space;
  bool after_space = remove;
  while (!text.empty()) {
    auto [prefix, length] = normalize_prefix(text);
    while (after_space && prefix.starts_with(' ')) prefix.remove_prefix(1);
    if (!prefix.empty()) {
      for (const char c : prefix) c == ' ' ? out += space : out += c;
      after_space = prefix.ends_with(' ');
    }
    text.remove_prefix(length);
    if (!remove) after_space = false;
  }
  while (remove && out.ends_with(space)) out.resize(out.size() - space.size());
  if (space_suffix_ && normalization_.dummy_prefix) out += space;
  return out;
}

std::vector<SentencePiece::Span> SentencePiece::encode_unigram(std::string_view text) const {
  struct Best {
    int64_t id = -1;
    float score = 0;
    size_t start = SIZE_MAX;
  };
  std::vector<Best> best(text.size() + 1);
  const float unknown_score = static_cast<float>(min_score_ - kUnknownPenalty);
  for (size_t start = 0; start < text.size();) {
    const float before = best[start].score;
    const size_t length = std::min(lead_length(text[start]), text.size() - start);
    bool single = false;
    uint32_t node = 0;
    for (size_t at = start; at < text.size();) {
      node = child(node, static_cast<uint8_t>(text[at]));
      if (node == 0) break;
      ++at;
      const int64_t id = trie_[node].id;
      if (id < 0) continue;
      const Piece& piece = pieces_[static_cast<size_t>(id)];
      if (piece.type == PieceType::unused) continue;
      // A user-defined piece gets a bonus, so that it is always taken.
      const double score = piece.type == PieceType::user_defined ? static_cast<float>(at - start) * max_score_ - 0.1 : piece.score;
      const double candidate = score + before;
      if (best[at].start == SIZE_MAX || candidate > best[at].score) best[at] = {id, static_cast<float>(candidate), start};
      single |= at - start == length;
    }
    if (!single) {
      const float candidate = unknown_score + before;
      Best& target = best[start + length];
      if (target.start == SIZE_MAX || candidate > target.score) target = {unknown_, candidate, start};
    }
    start += length;
  }
  std::vector<Span> spans;
  for (size_t end = text.size(); end > 0; end = best[end].start) spans.push_back({best[end].start, end, best[end].id});
  std::reverse(spans.begin(), spans.end());
  return spans;
}

std::vector<SentencePiece::Span> SentencePiece::encode_bpe(std::string_view text) const {
  struct Symbol {
    size_t begin, end;
    int64_t previous, next;
    bool frozen;
  };
  struct Pair {
    float score;
    int64_t left, right;
    size_t size;
    bool operator<(const Pair& other) const { return score != other.score ? score < other.score : left > other.left; }
  };
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < text.size();) {
    const size_t user = longest_user_defined(text.substr(at));
    const size_t end = at + (user ? user : std::min(lead_length(text[at]), text.size() - at));
    const auto index = static_cast<int64_t>(symbols.size());
    symbols.push_back({at, end, index - 1, end == text.size() ? -1 : index + 1, user > 0});
    at = end;
  }
  std::priority_queue<Pair> agenda;
  std::unordered_map<std::string, size_t> unused;  // merged pieces that must be taken apart again: bytes of the left part
  const auto add = [&](int64_t left, int64_t right) {
    if (left < 0 || right < 0) return;
    const Symbol &a = symbols[static_cast<size_t>(left)], &b = symbols[static_cast<size_t>(right)];
    if (a.frozen || b.frozen) return;
    const std::string merged(text.substr(a.begin, b.end - a.begin));
    const auto found = ids_.find(merged);
    if (found == ids_.end()) return;
    const Piece& piece = pieces_[static_cast<size_t>(found->second)];
    agenda.push({piece.score, left, right, merged.size()});
    if (piece.type == PieceType::unused) unused[merged] = a.end - a.begin;
  };
  for (size_t i = 1; i < symbols.size(); ++i) add(static_cast<int64_t>(i) - 1, static_cast<int64_t>(i));
  while (!agenda.empty()) {
    const Pair top = agenda.top();
    agenda.pop();
    Symbol &left = symbols[static_cast<size_t>(top.left)], &right = symbols[static_cast<size_t>(top.right)];
    if (left.begin == left.end || right.begin == right.end || (left.end - left.begin) + (right.end - right.begin) != top.size) continue;
    left.end = right.end;
    left.next = right.next;
    if (right.next >= 0) symbols[static_cast<size_t>(right.next)].previous = top.left;
    right.begin = right.end;
    add(left.previous, top.left);
    add(top.left, left.next);
  }
  std::vector<Span> spans;
  std::vector<std::pair<size_t, size_t>> stack;
  for (int64_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
    stack.assign(1, {symbols[static_cast<size_t>(i)].begin, symbols[static_cast<size_t>(i)].end});
    while (!stack.empty()) {
      const auto [begin, end] = stack.back();
      stack.pop_back();
      const std::string part(text.substr(begin, end - begin));
      const int64_t piece = id(part);
      const auto split = pieces_[static_cast<size_t>(piece)].type == PieceType::unused ? unused.find(part) : unused.end();
      if (split == unused.end()) {
        spans.push_back({begin, end, piece});
      } else {
        stack.push_back({begin + split->second, end});
        stack.push_back({begin, begin + split->second});
      }
    }
  }
  return spans;
}

std::vector<SentencePiece::Span> SentencePiece::encode_characters(std::string_view text) const {
  std::vector<Span> spans;
  for (size_t at = 0; at < text.size();) {
    const size_t user = algorithm_ == Algorithm::character ? longest_user_defined(text.substr(at)) : 0;
    size_t end = at + (user ? user : std::min(lead_length(text[at]), text.size() - at));
    if (algorithm_ == Algorithm::word) {
      end = std::min(text.find(kSpaceSymbol, end), text.size());
    }
    spans.push_back({at, end, id(text.substr(at, end - at))});
    at = end;
  }
  return spans;
}

std::vector<std::string> SentencePiece::encode(std::string_view text) const {
  const std::string normalized = normalize(text);
  const auto spans = algorithm_ == Algorithm::unigram ? encode_unigram(normalized)
                     : algorithm_ == Algorithm::bpe   ? encode_bpe(normalized)
                                                      : encode_characters(normalized);
  std::vector<std::string> pieces;
  bool after_unknown = false;
  for (const Span& span : spans) {
    const std::string_view part = std::string_view(normalized).substr(span.begin, span.end - span.begin);
    const bool unknown = span.id == unknown_;
    if (unknown && byte_fallback_) {
      for (const char c : part) pieces.push_back(byte_piece(static_cast<uint8_t>(c)));
    } else if (unknown && after_unknown) {
      pieces.back() += part;
    } else {
      pieces.emplace_back(part);
    }
    after_unknown = unknown;
  }
  return pieces;
}

std::string SentencePiece::decode(const std::vector<std::string>& pieces) const {
  std::string out, bytes;
  const auto flush = [&] {
    std::string_view rest = bytes;
    while (!rest.empty()) {
      const size_t length = valid_length(rest);
      out += length ? rest.substr(0, length) : kReplacement;
      rest.remove_prefix(length ? length : 1);
    }
    bytes.clear();
  };
  bool seen_space = false, at_start = true;
  for (const std::string& piece : pieces) {
    const int64_t index = id(piece);
    const Piece& entry = pieces_[static_cast<size_t>(index)];
    if (entry.type == PieceType::byte) {
      bytes += static_cast<char>(byte_of(piece));
      continue;
    }
    flush();
    if (seen_space || !out.empty()) at_start = false;
    seen_space = false;
    if (entry.type == PieceType::control) continue;
    if (entry.type == PieceType::unknown) {
      out += entry.text == piece ? unknown_surface_ : piece;
      continue;
    }
    std::string_view rest = piece;
    if (at_start && (normalization_.dummy_prefix || normalization_.remove_extra_spaces) && rest.starts_with(kSpaceSymbol)) {
      rest.remove_prefix(kSpaceSymbol.size());
      seen_space = !normalization_.remove_extra_spaces;
    }
    for (size_t at = 0; at < rest.size();) {
      const size_t found = std::min(rest.find(kSpaceSymbol, at), rest.size());
      out += rest.substr(at, found - at);
      if (found < rest.size()) out += ' ';
      at = found + kSpaceSymbol.size();
    }
  }
  flush();
  return out;
}

}  // namespace backplane::text
