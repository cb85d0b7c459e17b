// Byte-pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909): the pair of neighbours with the lowest
// rank is merged, the leftmost first, until no pair is left.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <mutex>

#include "text/byte_trie.h"
#include "text/model.h"

namespace backplane::text {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;

// (left, right) -> rank and result.
class MergeTable {
 public:
  void build(const std::vector<Merge>& merges) {
    const size_t size = std::bit_ceil(std::max<size_t>(16, merges.size() + merges.size() / 3));
    slots_.assign(size, {});
    shift_ = 64 - std::countr_zero(size);
    filter_.assign(size / 8, 0);
    for (uint32_t rank = 0; rank < merges.size(); ++rank) {
      const uint64_t pair = key(merges[rank].left, merges[rank].right);
      const uint64_t hash = hash_pair(pair);
      filter_[filter_word(hash)] |= filter_bit(hash);
      size_t i = hash >> shift_;
      while (slots_[i].pair != UINT64_MAX && slots_[i].pair != pair) i = (i + 1) & (size - 1);
      slots_[i] = {pair, rank};
    }
  }
  // The rank, or kNoRank. Most pairs are absent, which a small filter tells without a look at the large table.
  uint32_t rank(uint32_t left, uint32_t right) const {
    const uint64_t pair = key(left, right);
    const uint64_t hash = hash_pair(pair);
    if (!(filter_[filter_word(hash)] & filter_bit(hash))) return kNoRank;
    size_t i = hash >> shift_;
    while (slots_[i].pair != pair && slots_[i].pair != UINT64_MAX) i = (i + 1) & (slots_.size() - 1);
    return slots_[i].rank;
  }

 private:
  static uint64_t key(uint32_t left, uint32_t right) { return static_cast<uint64_t>(left) << 32 | right; }
  // Eight bits a slot.
  size_t filter_word(uint64_t hash) const { return hash >> (shift_ + 3); }
  static uint64_t filter_bit(uint64_t hash) { return uint64_t{1} << (hash & 63); }

  struct Slot {
    uint64_t pair = UINT64_MAX;
    uint32_t rank = kNoRank;
  };
  std::vector<Slot> slots_;
  std::vector<uint64_t> filter_;
  int shift_ = 60;
};

class Bpe final : public Model {
 public:
  Bpe(Vocabulary vocabulary, std::vector<Merge> merges, const Json& settings, const std::string& where)
      : Model(std::move(vocabulary)), settings_(settings), merges_(std::move(merges)) {
    const Fields f(settings, where);
    if (f.has("dropout")) {
      if (!f.at("dropout").is_number()) bad(f.path("dropout"), "expected a number");
      dropout_ = f.at("dropout").get<double>();
      if (!(dropout_ >= 0 && dropout_ <= 1)) bad(f.path("dropout"), concat("found ", dropout_, ", expected 0 to 1"));
    }
    has_unk_ = f.has("unk_token");
    unk_token_ = f.text("unk_token", "");
    if (has_unk_) unk_ = vocabulary_.find_token(unk_token_);
    prefix_ = f.text("continuing_subword_prefix", "");
    suffix_ = f.text("end_of_word_suffix", "");
    fuse_unk_ = f.flag("fuse_unk", false);
    byte_fallback_ = f.flag("byte_fallback", false);
    ignore_merges_ = f.flag("ignore_merges", false);
    table_.build(merges_);
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      if (vocabulary_.byte_level() || byte < 128) single_[byte] = vocabulary_.find({&c, 1});
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
      fallback_[byte] = vocabulary_.find_token(name);
    }
    derivations_ = std::vector<Derivation>(vocabulary_.id_limit());
    plain_ = prefix_.empty() && suffix_.empty() && dropout_ == 0;
    std::vector<bool> outside(vocabulary_.id_limit());
    for (const uint32_t id : fallback_)
      if (id != kNoId) outside[id] = true;
    fallback_stays_ = byte_fallback_ && std::none_of(merges_.begin(), merges_.end(), [&](const Merge& merge) { return outside[merge.left] || outside[merge.right]; });
    if (!ignore_merges_ && plain_)
      for (const std::string_view blank : {"\xE2\x96\x81", " "})
        if (separates(blank)) separator_ = blank;
  }

  void tokenize(std::string_view piece, Scratch& scratch, std::vector<ModelToken>& tokens) const override {
    if (piece.empty()) return;
    if (ignore_merges_) {
      const uint32_t id = vocabulary_.find(piece);
      if (id != kNoId) return tokens.push_back({id, 0, static_cast<uint32_t>(piece.size())});
    }
    if (separator_.empty()) return tokenize_word(piece, 0, scratch, tokens);
    for (size_t begin = 0; begin < piece.size();) {
      const size_t end = word_end(piece, begin);
      tokenize_word(piece.substr(begin, end - begin), static_cast<uint32_t>(begin), scratch, tokens);
      begin = end;
    }
  }

  void write_json(std::string& out, int indent) const override;

 protected:
  bool deterministic() const override { return dropout_ == 0; }

  const std::vector<Span>& refine(std::string_view text, const std::vector<Span>& pieces, Scratch& scratch) const override {
    if (separator_.empty()) return pieces;
    scratch.words.clear();
    for (const Span& piece : pieces) {
      const std::string_view part = text.substr(0, piece.end);
      for (size_t begin = piece.begin; begin < piece.end;) {
        const size_t end = word_end(part, begin);
        scratch.words.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
        begin = end;
      }
    }
    return scratch.words;
  }

 private:
  // No token joins something else with a `blank` after it, so that a text may be cut before the first of a run of blanks.
  bool separates(std::string_view blank) const {
    if (vocabulary_.find(blank) == kNoId) return false;
    return std::none_of(merges_.begin(), merges_.end(), [&](const Merge& merge) {
      return vocabulary_.bytes(merge.right).starts_with(blank) && !vocabulary_.bytes(merge.left).ends_with(blank);
    });
  }
  size_t word_end(std::string_view text, size_t begin) const {
    while (text.substr(begin, separator_.size()) == separator_) begin += separator_.size();
    return std::min(text.find(separator_, begin), text.size());
  }

  void tokenize_word(std::string_view piece, uint32_t at, Scratch& scratch, std::vector<ModelToken>& tokens) const {
    if (plain_ && piece.size() > kTiny && uses_trie(piece.size()) && tokenize_by_search(piece, at, scratch, tokens)) return;
    auto& symbols = scratch.symbols;
    symbols.clear();
    if (vocabulary_.byte_level() && suffix_.empty() && prefix_.empty()) split_bytes(piece, symbols);
    else split_characters(piece, symbols, scratch.buffer);
    if (dropout_ > 0) merge_with_dropout(symbols, scratch);
    else merge_any(symbols, scratch);
    for (const Symbol& symbol : symbols) {
      tokens.push_back({symbol.id, at, at + symbol.size});
      at += symbol.size;
    }
  }

  static constexpr size_t kShort = 48;
  static constexpr int kPairBits = 15;

  struct Unknown {
    bool pending = false;
    uint32_t size = 0;
  };
  void flush(Unknown& unknown, std::vector<Symbol>& symbols) const {
    if (unknown.pending) symbols.push_back({unk_, unknown.size});
    unknown.pending = false;
  }
  void add_unknown(Unknown& unknown, uint32_t size, std::vector<Symbol>& symbols) const {
    if (!has_unk_) return;
    if (unk_ == kNoId)
      throw Error(ErrorCode::bad_tokenizer, concat("the unknown token '", unk_token_, "' is not in the vocabulary"));
    if (unknown.pending && fuse_unk_) {
      unknown.size += size;
      return;
    }
    flush(unknown, symbols);
    unknown = {true, size};
  }

  void split_bytes(std::string_view piece, std::vector<Symbol>& symbols) const {
    symbols.resize(piece.size());
    for (size_t i = 0; i < piece.size(); ++i) {
      symbols[i] = {single_[static_cast<uint8_t>(piece[i])], 1};
      if (symbols[i].id == kNoId) {
        symbols.clear();
        return split_bytes_slowly(piece, symbols);
      }
    }
  }
  // With a byte that has no token: each is unknown by itself. Fallback looks at the bytes of the byte's character.
  void split_bytes_slowly(std::string_view piece, std::vector<Symbol>& symbols) const {
    Unknown unknown;
    for (const char c : piece) {
      const uint32_t id = single_[static_cast<uint8_t>(c)];
      if (id != kNoId) {
        flush(unknown, symbols);
        symbols.push_back({id, 1});
        continue;
      }
      char name[4];
      if (byte_fallback_ && add_fallback({name, encode(kByteToCode[static_cast<uint8_t>(c)], name)}, symbols)) continue;
      add_unknown(unknown, 1, symbols);
    }
    flush(unknown, symbols);
  }
  bool add_fallback(std::string_view text, std::vector<Symbol>& symbols) const {
    for (const char c : text)
      if (fallback_[static_cast<uint8_t>(c)] == kNoId) return false;
    for (const char c : text) symbols.push_back({fallback_[static_cast<uint8_t>(c)], 1});
    return true;
  }
  void split_characters(std::string_view piece, std::vector<Symbol>& symbols, std::string& name) const {
    Unknown unknown;
    for (size_t i = 0; i < piece.size();) {
      const uint32_t size = vocabulary_.byte_level() ? 1 : sequence_length(piece[i]);
      const std::string_view character = piece.substr(i, size);
      const bool prefixed = i > 0 && !prefix_.empty();
      const bool suffixed = i + size == piece.size() && !suffix_.empty();
      i += size;
      uint32_t id;
      name.clear();
      if (prefixed || suffixed) {
        if (prefixed) name += prefix_;
        if (vocabulary_.byte_level()) append_byte_level(character, name);
        else name += character;
        if (suffixed) name += suffix_;
        id = vocabulary_.find_token(name);
      } else {
        const auto byte = static_cast<uint8_t>(character[0]);
        id = size == 1 ? single_[byte] : vocabulary_.find(character);
      }
      if (id != kNoId) {
        flush(unknown, symbols);
        symbols.push_back({id, size});
        continue;
      }
      // A pending unknown stays pending across bytes, as in the reference.
      if (byte_fallback_ && add_fallback(name.empty() ? character : std::string_view(name), symbols)) continue;
      add_unknown(unknown, size, symbols);
    }
    flush(unknown, symbols);
  }

  // `last`, `last_rank`: what the last merge was.
  void merge_short(std::vector<Symbol>& symbols, std::vector<uint32_t>& ranks, Merge* last = nullptr, uint32_t* last_rank = nullptr) const {
    size_t count = symbols.size();
    if (count < 2) return;
    ranks.resize(count);
    uint32_t* rank = ranks.data();
    Symbol* symbol = symbols.data();
    for (size_t i = 0; i + 1 < count; ++i) rank[i] = table_.rank(symbol[i].id, symbol[i + 1].id);
    while (count > 1) {
      size_t best = 0;
      for (size_t i = 1; i + 1 < count; ++i)
        if (rank[i] < rank[best]) best = i;
      if (rank[best] == kNoRank) break;
      if (last) *last = merges_[rank[best]], *last_rank = rank[best];
      symbol[best].id = merges_[rank[best]].result;
      symbol[best].size += symbol[best + 1].size;
      --count;
      std::copy(symbol + best + 2, symbol + count + 1, symbol + best + 1);
      std::copy(rank + best + 1, rank + count, rank + best);
      if (best > 0) rank[best - 1] = table_.rank(symbol[best - 1].id, symbol[best].id);
      if (best + 1 < count) rank[best] = table_.rank(symbol[best].id, symbol[best + 1].id);
    }
    symbols.resize(count);
  }

  // How a token comes about when its bytes are encoded alone: the last merge. `made` orders the merges: 0 not looked at
  // yet, else one of the constants, else the rank above them. Filled as tokens are met, by any thread with equal values.
  struct Derivation {
    std::atomic<uint32_t> made{0}, left{0}, right{0};
    Derivation() = default;
    Derivation(Derivation&&) noexcept {}
  };
  static constexpr uint32_t kNotItself = 1, kIrregular = 2, kLeaf = 3, kFirstRank = 4;
  static constexpr size_t kTiny = 6, kLongToken = 512, kTrieBytes = 1 << 16;

  uint32_t made(uint32_t id, Scratch& scratch) const {
    const uint32_t known = derivations_[id].made.load(std::memory_order_acquire);
    return known ? known : derive(id, scratch);
  }

  uint32_t derive(uint32_t id, Scratch& scratch) const {
    const std::string_view bytes = vocabulary_.bytes(id);
    Derivation& derivation = derivations_[id];
    uint32_t result = kNotItself;
    std::vector<Symbol> symbols;
    bool known = bytes.size() <= kLongToken;
    for (size_t i = 0; known && i < bytes.size();) {
      const uint32_t size = vocabulary_.byte_level() ? 1 : sequence_length(bytes[i]);
      const uint32_t symbol = size == 1 ? single_[static_cast<uint8_t>(bytes[i])] : vocabulary_.find(bytes.substr(i, size));
      known = symbol != kNoId;
      symbols.push_back({symbol, size});
      i += size;
    }
    if (bytes.size() > kLongToken) {
      result = kIrregular;
    } else if (known && symbols.size() == 1) {
      if (symbols[0].id == id) result = kLeaf;
    } else if (known) {
      Merge last{};
      uint32_t rank = 0;
      merge_short(symbols, scratch.ranks, &last, &rank);
      if (symbols.size() == 1 && symbols[0].id == id) {
        result = rank + kFirstRank;
        for (const uint32_t part : {last.left, last.right}) {
          const uint32_t part_made = made(part, scratch);
          if (part_made < kLeaf || part_made >= result) result = kIrregular;
          if (result == kIrregular) break;
        }
        derivation.left.store(last.left, std::memory_order_relaxed);
        derivation.right.store(last.right, std::memory_order_relaxed);
      }
    }
    derivation.made.store(result, std::memory_order_release);
    return result;
  }

  // Whether two tokens stay side by side when their bytes are encoded together. Merges happen in the order of their
  // ranks, so it is enough to go back in time along the right edge of `left` and the left edge of `right` and to see
  // that no pair that ever stood at the border would have been merged before one of the two was.
  bool stay_apart(uint32_t left, uint32_t right, Scratch& scratch) const {
    if (scratch.pairs.empty()) scratch.pairs.assign(size_t{1} << kPairBits, UINT64_MAX);
    const uint64_t pair = static_cast<uint64_t>(left) << 29 | right;
    uint64_t& cached = scratch.pairs[hash_pair(pair) >> (64 - kPairBits)];
    if (cached >> 1 == pair) return cached & 1;
    const bool apart = compute_apart(left, right, scratch);
    cached = pair << 1 | apart;
    return apart;
  }
  bool compute_apart(uint32_t left, uint32_t right, Scratch& scratch) const {
    uint32_t left_made = made(left, scratch), right_made = made(right, scratch);
    if (left_made == kIrregular || right_made == kIrregular) return merge_apart(left, right, scratch);
    uint32_t left_until = kNoRank, right_until = kNoRank;
    for (;;) {
      const uint32_t rank = table_.rank(left, right);
      if (rank != kNoRank && rank < left_until && rank <= right_until) return false;
      if (left_made > right_made) {
        left_until = left_made - kFirstRank;
        left = derivations_[left].right.load(std::memory_order_relaxed);
        left_made = made(left, scratch);
      } else {
        if (right_made == kLeaf) return true;
        right_until = right_made - kFirstRank;
        right = derivations_[right].left.load(std::memory_order_relaxed);
        right_made = made(right, scratch);
      }
    }
  }
  bool merge_apart(uint32_t left, uint32_t right, Scratch& scratch) const {
    const std::string bytes = concat(vocabulary_.bytes(left), vocabulary_.bytes(right));
    std::vector<Symbol> symbols;
    if (vocabulary_.byte_level()) split_bytes(bytes, symbols);
    else split_characters(bytes, symbols, scratch.buffer);
    merge_any(symbols, scratch);
    return symbols.size() == 2 && symbols[0].id == left && symbols[1].id == right;
  }

  // The trie is worth its construction once enough text came.
  bool uses_trie(size_t bytes) const {
    if (trie_.load(std::memory_order_acquire)) return true;
    if (searched_.fetch_add(bytes, std::memory_order_relaxed) + bytes < kTrieBytes) return false;
    std::call_once(trie_once_, [this] {
      trie_storage_ = std::make_unique<ByteTrie>(vocabulary_);
      trie_.store(trie_storage_.get(), std::memory_order_release);
    });
    return true;
  }

  // A sequence of tokens is the result of the merges exactly if each neighbouring pair stays apart. So: the longest token,
  // then shorter ones, and a step back where none fits; no end position is tried twice. After the bpe crate of GitHub,
  // https://github.blog/ai-and-ml/llms/so-many-tokens-so-little-time-introducing-a-faster-more-flexible-byte-pair-tokenizer/
  // False, with nothing appended: a character has neither a token nor a fallback.
  bool tokenize_by_search(std::string_view piece, uint32_t shift, Scratch& scratch, std::vector<ModelToken>& tokens) const {
    const ByteTrie& trie = *trie_.load(std::memory_order_relaxed);
    const size_t before = tokens.size();
    auto& dead = scratch.flags;
    dead.assign(piece.size() + 1, 0);
    size_t first = before;  // tokens before this one are settled
    uint32_t at = 0;
    uint32_t token = trie.longest(piece);
    while (at < piece.size()) {
      if (token == kNoId && tokens.size() == first && !has_token(piece, at)) {
        if (!add_fallback_tokens(piece, at, shift, tokens)) return tokens.resize(before), false;
        first = tokens.size();
        token = trie.longest(piece.substr(at));
        continue;
      }
      const uint32_t last = tokens.size() > first ? tokens.back().id : kNoId;
      for (; token != kNoId; token = trie.shorter(token)) {
        const auto end = at + static_cast<uint32_t>(vocabulary_.bytes(token).size());
        if (dead[end] || made(token, scratch) == kNotItself) continue;
        if (last != kNoId && !stay_apart(last, token, scratch)) continue;
        tokens.push_back({token, shift + at, shift + end});
        at = end;
        break;
      }
      if (token != kNoId) {
        token = trie.longest(piece.substr(at));
        // An unknown character ends what came before.
        if (token == kNoId && at < piece.size() && !has_token(piece, at)) first = tokens.size();
        continue;
      }
      if (tokens.size() == first) return tokens.resize(before), false;
      dead[at] = 1;
      token = tokens.back().id;
      at = tokens.back().begin - shift;
      tokens.pop_back();
    }
    return true;
  }
  bool has_token(std::string_view piece, uint32_t at) const {
    const uint32_t size = vocabulary_.byte_level() ? 1 : sequence_length(piece[at]);
    return (size == 1 ? single_[static_cast<uint8_t>(piece[at])] : vocabulary_.find(piece.substr(at, size))) != kNoId;
  }
  bool add_fallback_tokens(std::string_view piece, uint32_t& at, uint32_t shift, std::vector<ModelToken>& tokens) const {
    if (!fallback_stays_ || vocabulary_.byte_level()) return false;
    for (uint32_t left = sequence_length(piece[at]); left > 0; --left, ++at) {
      const uint32_t id = fallback_[static_cast<uint8_t>(piece[at])];
      if (id == kNoId) return false;
      tokens.push_back({id, shift + at, shift + at + 1});
    }
    return true;
  }

  void merge_any(std::vector<Symbol>& symbols, Scratch& scratch) const {
    if (symbols.size() <= kShort) merge_short(symbols, scratch.ranks);
    else merge_long(symbols, scratch);
  }

  // Neighbours in a linked list, candidates in a heap of (rank, position).
  void merge_long(std::vector<Symbol>& symbols, Scratch& scratch) const {
    const auto count = static_cast<uint32_t>(symbols.size());
    auto& heap = scratch.heap;
    auto& next = scratch.links;
    auto& previous = scratch.ranks;
    heap.clear();
    next.resize(count);
    previous.resize(count);
    for (uint32_t i = 0; i < count; ++i) {
      next[i] = i + 1;
      previous[i] = i - 1;
      if (i + 1 == count) break;
      const uint32_t rank = table_.rank(symbols[i].id, symbols[i + 1].id);
      if (rank != kNoRank) heap.push_back(static_cast<uint64_t>(rank) << 32 | i);
    }
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
    const auto push = [&](uint32_t at) {
      const uint32_t rank = table_.rank(symbols[at].id, symbols[next[at]].id);
      if (rank == kNoRank) return;
      heap.push_back(static_cast<uint64_t>(rank) << 32 | at);
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    };
    while (!heap.empty()) {
      const uint64_t top = heap.front();
      std::pop_heap(heap.begin(), heap.end(), std::greater<>());
      heap.pop_back();
      const auto at = static_cast<uint32_t>(top);
      const Merge& merge = merges_[top >> 32];
      const uint32_t right = next[at];
      // A symbol that was merged away has no size.
      if (symbols[at].size == 0 || right >= count) continue;
      if (symbols[at].id != merge.left || symbols[right].id != merge.right) continue;
      symbols[at].id = merge.result;
      symbols[at].size += symbols[right].size;
      symbols[right].size = 0;
      next[at] = next[right];
      if (next[at] < count) {
        previous[next[at]] = at;
        push(at);
      }
      if (previous[at] != UINT32_MAX) push(previous[at]);
    }
    symbols.erase(std::remove_if(symbols.begin(), symbols.end(), [](const Symbol& s) { return s.size == 0; }), symbols.end());
  }

  // Every candidate is passed over with probability `dropout_` each time its turn comes (BPE-dropout,
  // https://arxiv.org/abs/1910.13267).
  void merge_with_dropout(std::vector<Symbol>& symbols, Scratch& scratch) const {
    const auto drops = [&] {
      scratch.random ^= scratch.random << 13;
      scratch.random ^= scratch.random >> 7;
      scratch.random ^= scratch.random << 17;
      return static_cast<double>(scratch.random >> 11) * 0x1p-53 < dropout_;
    };
    auto& candidates = scratch.heap;
    while (symbols.size() > 1) {
      candidates.clear();
      for (uint32_t i = 0; i + 1 < symbols.size(); ++i) {
        const uint32_t rank = table_.rank(symbols[i].id, symbols[i + 1].id);
        if (rank != kNoRank && !drops()) candidates.push_back(static_cast<uint64_t>(rank) << 32 | i);
      }
      if (candidates.empty()) break;
      const uint64_t best = *std::min_element(candidates.begin(), candidates.end());
      const auto at = static_cast<size_t>(static_cast<uint32_t>(best));
      symbols[at].id = merges_[best >> 32].result;
      symbols[at].size += symbols[at + 1].size;
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
  }

  Json settings_;
  std::vector<Merge> merges_;
  MergeTable table_;
  double dropout_ = 0;
  bool has_unk_ = false, fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false;
  uint32_t unk_ = kNoId;
  std::string unk_token_, prefix_, suffix_;
  std::string_view separator_;
  bool plain_ = false;           // no dropout, prefix or suffix: a token's merges do not depend on its place
  bool fallback_stays_ = false;  // no merge takes a token of byte fallback
  mutable std::vector<Derivation> derivations_;
  mutable std::once_flag trie_once_;
  mutable std::unique_ptr<ByteTrie> trie_storage_;
  mutable std::atomic<const ByteTrie*> trie_{nullptr};
  mutable std::atomic<uint64_t> searched_{0};
  uint32_t single_[256], fallback_[256];
};

void Bpe::write_json(std::string& out, int indent) const {
  const int inner = indent < 0 ? indent : indent + 1;
  const char* colon = indent < 0 ? ":" : ": ";
  out += '{';
  for (const char* key : {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges"}) {
    write_line(out, inner);
    const auto found = settings_.find(key);
    const bool is_flag = std::string_view(key) == "fuse_unk" || std::string_view(key) == "byte_fallback" || std::string_view(key) == "ignore_merges";
    const std::string value = std::string_view(key) == "type" ? "\"BPE\""
                              : found == settings_.end()      ? (is_flag ? "false" : "null")
                                                              : python_dumps(*found, -1, false);
    out += concat("\"", key, "\"", colon, value, ",");
  }
  write_line(out, inner);
  out += concat("\"vocab\"", colon);
  write_vocabulary(out, vocabulary_, inner);
  out += ',';
  write_line(out, inner);
  out += concat("\"merges\"", colon, "[");
  bool first = true;
  for (const Merge& merge : merges_) {
    if (!first) out += ',';
    first = false;
    write_line(out, inner < 0 ? inner : inner + 1);
    out += '[';
    write_line(out, inner < 0 ? inner : inner + 2);
    write_string(out, vocabulary_.token(merge.left));
    out += ',';
    write_line(out, inner < 0 ? inner : inner + 2);
    write_string(out, vocabulary_.token(merge.right));
    write_line(out, inner < 0 ? inner : inner + 1);
    out += ']';
  }
  if (!first) write_line(out, inner);
  out += ']';
  write_line(out, indent);
  out += '}';
}

// "a b" or ["a", "b"]; `text` keeps the bytes of the two.
std::pair<std::string_view, std::string_view> read_pair(JsonReader& reader, std::string& text) {
  if (reader.peek() == '[') {
    reader.expect('[');
    text = reader.string();
    const size_t left = text.size();
    reader.expect(',');
    text += reader.string();
    reader.expect(']');
    return {std::string_view(text).substr(0, left), std::string_view(text).substr(left)};
  }
  const std::string_view merge = reader.string();
  const size_t blank = merge.find(' ');
  if (blank == std::string_view::npos || merge.find(' ', blank + 1) != std::string_view::npos)
    reader.fail(concat("the merge '", merge, "' is not two tokens with one blank between"));
  return {merge.substr(0, blank), merge.substr(blank + 1)};
}

}  // namespace

std::vector<Merge> read_merges(JsonReader& reader, const Vocabulary& vocabulary, const Json& settings, const std::string& where) {
  const size_t prefix_size = Fields(settings, where).text("continuing_subword_prefix", "").size();
  std::vector<Merge> merges;
  merges.reserve(vocabulary.count() * 2);
  std::string text, joined;
  const JsonReader::Within within(reader, concat(where, ".merges"));
  reader.expect('[');
  for (bool first = true; reader.more(']', first); first = false) {
    const auto [left, right] = read_pair(reader, text);
    if (right.size() < prefix_size) reader.fail(concat("the merge '", left, " ", right, "' lacks the continuing_subword_prefix"));
    Merge merge{kNoId, kNoId, kNoId};
    joined.clear();
    if (vocabulary.byte_level() && prefix_size == 0 && append_bytes_of(left, joined)) {
      const size_t middle = joined.size();
      if (append_bytes_of(right, joined)) {
        const std::string_view bytes = joined;
        merge = {vocabulary.find_mapped(bytes.substr(0, middle)), vocabulary.find_mapped(bytes.substr(middle)), vocabulary.find_mapped(bytes)};
      }
    }
    if (merge.left == kNoId || merge.right == kNoId || merge.result == kNoId) {
      joined.assign(left).append(right.substr(prefix_size));
      merge = {vocabulary.find_token(left), vocabulary.find_token(right), vocabulary.find_token(joined)};
      const std::string_view absent = merge.left == kNoId ? left : merge.right == kNoId ? right : merge.result == kNoId ? joined : std::string_view();
      if (merge.left == kNoId || merge.right == kNoId || merge.result == kNoId)
        reader.fail(concat("the merge '", left, " ", right, "' needs '", absent, "', which is not in the vocabulary"));
    }
    merges.push_back(merge);
  }
  return merges;
}

std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, std::vector<Merge> merges, const Json& settings, const std::string& where) {
  return std::make_unique<Bpe>(std::move(vocabulary), std::move(merges), settings, where);
}

}  // namespace backplane::text
