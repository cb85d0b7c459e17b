#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/aligned_text.h"
#include "text/json_reader.h"
#include "text/vocabulary.h"

namespace backplane::text {

// A token of a piece; begin and end are bytes of the piece.
struct ModelToken {
  uint32_t id, begin, end;
  bool verbatim = false;  // its text is the piece's, not the vocabulary's
};

struct Symbol {
  uint32_t id, size;
};

// Ids of words seen before, one entry a slot, the newest wins. One cache line an entry.
class WordCache {
 public:
  static constexpr size_t kWordBytes = 34, kIds = 7;
  struct alignas(64) Entry {
    uint8_t size = 0, count = 0;
    char word[kWordBytes];
    uint32_t ids[kIds];
  };

  WordCache() : entries_(kEntries) {}
  Entry& at(std::string_view word) { return entries_[hash_bytes(word.data(), word.size()) >> (64 - kBits)]; }

 private:
  static constexpr int kBits = 15;
  static constexpr size_t kEntries = size_t{1} << kBits;
  std::vector<Entry> entries_;
};

// Working memory of a call. A tokenizer keeps some and lends each to one call at a time.
struct Scratch {
  AlignedText text, part;
  std::vector<Span> cuts, more_cuts, matches, words;
  WordCache cache;
  std::vector<ModelToken> tokens;
  std::vector<Symbol> symbols;
  std::vector<uint32_t> ranks;
  std::vector<uint64_t> heap, pairs;
  std::vector<uint8_t> flags;
  std::vector<uint32_t> links;
  std::vector<double> scores;
  std::string buffer;
  uint64_t random = 0x9E3779B97F4A7C15ull;
};

// The model of tokenizer.json: splits a piece of text into tokens of its vocabulary. Immutable, any thread.
class Model {
 public:
  virtual ~Model() = default;

  // Appends the tokens of `piece`. Throws `bad_tokenizer` where an unknown token is needed and absent.
  virtual void tokenize(std::string_view piece, Scratch& scratch, std::vector<ModelToken>& tokens) const = 0;
  // Appends the ids of pieces of `text`, through the cache.
  void append_ids(std::string_view text, const std::vector<Span>& pieces, Scratch& scratch, std::vector<int64_t>& ids) const;
  // Appends the model's object as tokenizer.json has it.
  virtual void write_json(std::string& out, int indent) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  explicit Model(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  // The same text always gives the same tokens.
  virtual bool deterministic() const { return true; }
  // Smaller pieces that give the same tokens, so that more of them are found in the cache.
  virtual const std::vector<Span>& refine(std::string_view, const std::vector<Span>& pieces, Scratch&) const { return pieces; }
  Vocabulary vocabulary_;
};

// Reads the value of the key "model". `byte_level`: the pieces of a byte-pair model will be bytes, not characters of
// GPT-2's alphabet. Throws `bad_tokenizer`.
std::unique_ptr<Model> read_model(JsonReader& reader, bool byte_level);

// A pair of tokens and what they become; its place in the list is its rank.
struct Merge {
  uint32_t left, right, result;
};
std::vector<Merge> read_merges(JsonReader& reader, const Vocabulary& vocabulary, const Json& settings, const std::string& where);
// {"token": id, …}
Vocabulary read_vocabulary(JsonReader& reader, bool byte_level, const std::string& where);

std::unique_ptr<Model> make_bpe(Vocabulary vocabulary, std::vector<Merge> merges, const Json& settings, const std::string& where);
std::unique_ptr<Model> make_word_piece(Vocabulary vocabulary, const Json& settings, const std::string& where);
std::unique_ptr<Model> make_word_level(Vocabulary vocabulary, const Json& settings, const std::string& where);
std::unique_ptr<Model> read_unigram(const Json& settings, JsonReader& vocab, const std::string& where);

// Writing, as serde_json does it: two blanks a level when `indent` >= 0, else nothing between.
void write_line(std::string& out, int indent);
void write_string(std::string& out, std::string_view text);
void write_vocabulary(std::string& out, const Vocabulary& vocabulary, int indent);

}  // namespace backplane::text
