#pragma once

#include <map>
#include <memory>

#include "backplane/base/json.h"
#include "text/sentencepiece.h"
#include "text/slow_tokenizer.h"

// The algorithms of the reference's Python tokenizers.
namespace backplane::text {

// A vocabulary of a file: the last of equal tokens, and of equal ids, wins.
class TokenTable {
 public:
  void add(const std::string& token, int64_t id);
  int64_t id(const std::string& token) const;  // kNone
  int64_t id(const std::string& token, const std::string& unknown) const {
    const int64_t known = id(token);
    return known != kNone ? known : id(unknown);
  }
  std::optional<std::string> token(int64_t id) const;
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  bool contains(const std::string& token) const { return ids_.contains(token); }
  const std::map<int64_t, std::string>& tokens() const { return tokens_; }

 private:
  std::unordered_map<std::string, int64_t> ids_;
  std::map<int64_t, std::string> tokens_;
};

// Throw `bad_tokenizer` and `file_not_found`, naming the file. Lines of a text file, ids of a JSON object.
TokenTable read_vocab_txt(const std::string& path, bool strip_lines = false);
TokenTable read_vocab_json(const std::string& path);
TokenTable table_of(const Json& vocab, const std::string& path);
std::vector<std::string> read_lines(const std::string& path);

// Merges of a byte-pair encoding; symbols are texts.
class Merges {
 public:
  void add(const std::string& left, const std::string& right);
  // The pair of lowest rank is joined everywhere, again and again, as the reference's Python does.
  std::vector<std::string> apply(std::vector<std::string> symbols) const;
  const std::vector<std::pair<std::string, std::string>>& pairs() const { return pairs_; }

 private:
  uint32_t intern(const std::string& symbol);
  std::unordered_map<std::string, uint32_t> symbols_;
  std::vector<std::string> texts_;
  struct Rule {
    uint32_t rank, result;
  };
  std::unordered_map<uint64_t, Rule> rules_;
  std::vector<std::pair<std::string, std::string>> pairs_;
};
// A line a merge: two symbols and, in some files, a count. How many lines to leave out at the beginning and the end.
Merges read_merges_file(const std::string& path, size_t skip_first, size_t skip_last);

// What a class over a table of tokens shares.
class TableModel : public SlowModel {
 public:
  TableModel(TokenTable table, std::string unknown) : table_(std::move(table)), unknown_(std::move(unknown)) {}
  int64_t id(const std::string& token) const override { return table_.id(token, unknown_); }
  std::optional<std::string> token(int64_t id) const override { return table_.token(id); }
  int64_t size() const override { return table_.size(); }
  int64_t listed_id(const std::string& token) const override { return table_.id(token); }

 protected:
  TokenTable table_;
  std::string unknown_;
};

bool is_punctuation(uint32_t code);
// Bert's cleaning, lower case and cutting at blanks and punctuation.
struct BasicSettings {
  bool lower_case = true, chinese_characters = true, split_on_punctuation = true;
  std::optional<bool> strip_accents;
  std::vector<std::string> never_split;
};
std::vector<std::string> basic_tokenize(std::string_view text, const BasicSettings& settings, const std::vector<std::string>& kept);
// Longest pieces first; the unknown token for a word with a part that is not there.
void word_pieces(const TokenTable& table, const std::string& word, const std::string& unknown, size_t longest, std::vector<std::string>& tokens);

struct WordPieceSettings : BasicSettings {
  bool basic = true;
  bool characters = false;      // words become characters, in NFKC
  std::string unknown = "[UNK]";
};
std::shared_ptr<const SlowModel> make_slow_word_piece(TokenTable table, WordPieceSettings settings);

struct ByteBpeSettings {
  enum class Pattern { gpt2, qwen2, clip } pattern = Pattern::gpt2;
  bool speaks = false;  // CLVP: numbers and abbreviations in words, "[SPACE]" for a blank
  bool lower_case = false;
  bool prefix_space = false, words_get_space = true;
  bool prefix_unless_space = false;  // as Roberta: not before a blank
  bool nfc = false;
  bool missing_is_empty = false;  // an id without a token is an empty one
  std::string unknown;
  SlowModel::Decoding decoding = SlowModel::Decoding::spaced;
  bool cleans_up = true;
};
std::shared_ptr<const SlowModel> make_slow_byte_bpe(TokenTable table, Merges merges, ByteBpeSettings settings);
// GPT-2's letters for bytes, and back; text that is not UTF-8 gets U+FFFD.
std::string to_byte_letters(std::string_view bytes);
std::string from_byte_letters(std::string_view letters);

// Byte-pair encoding of words, whose last character is marked.
struct WordPairSettings {
  enum class Kind { openai, herbert, ctrl, blenderbot_small, speech } kind;
  bool lower_case = false;
  std::string unknown;
};
std::shared_ptr<const SlowModel> make_slow_word_pairs(TokenTable table, Merges merges, WordPairSettings settings);

// Bytes as the characters of their numbers.
struct ByteSettings {
  enum class Kind { byt5, perceiver, dia } kind;
  int64_t offset = 0;
};
std::shared_ptr<const SlowModel> make_slow_bytes(ByteSettings settings);
std::shared_ptr<const SlowModel> make_slow_canine();
std::shared_ptr<const SlowModel> make_slow_esm(TokenTable table, std::string unknown);
std::shared_ptr<const SlowModel> make_slow_characters(TokenTable table, std::string unknown);
struct VitsSettings {
  bool add_blank = true, normalize = true;
  std::string language, unknown;
};
std::shared_ptr<const SlowModel> make_slow_vits(TokenTable table, VitsSettings settings);
struct CtcSettings {
  bool lower_case = false, phonemes = false;
  std::string unknown, pad, delimiter, blank;
};
std::shared_ptr<const SlowModel> make_slow_ctc(TokenTable table, CtcSettings settings);

// Numbers in figures as words, as SpeechT5 ("in_words") and CLVP read them aloud.
std::string clvp_text(std::string_view text);

// Several steps of the SentencePiece classes; see their settings.
struct SentencePieceSettings {
  // How tokens become a text: the model joins runs between special tokens, with or without a blank before these or with
  // one behind them; the model joins all; or blanks replace "▁".
  enum class Join { spaced, unspaced, trailing, decoded, replaced, llama, gemma } join = Join::spaced;
  bool strips = true;           // the joined text
  bool albert = false;          // clean the text first, and cut digits from a comma
  bool lower_case = false, remove_space = true, keep_accents = false;
  bool split_punctuation = false, words_get_space = false;
  bool legacy = true;           // off: T5 and Llama give the text its first blank themselves
  bool prefix_space = true;
  bool strips_prefix = false;   // joining drops the first piece's blank
  SlowModel::Decoding decoding = SlowModel::Decoding::spaced;
  bool cleans_up = true;
  std::vector<std::pair<std::string, std::string>> decoded;  // replacements in a decoded text
  bool listed_by_table = false; // get_vocab() is the table
  int64_t listed_extra = 0;     // ids that get_vocab() asks for beyond the vocabulary
  std::shared_ptr<const SentencePiece> joiner;  // another model joins
  bool language_code = false;   // Marian: ">>fra<<" at the beginning is a token
  bool upper_case = false;      // of the joined text
  bool cleans_controls = false; // GPT-SW3: no control characters, plain blanks, NFC
  bool ernie = false;           // Chinese, punctuation and numbers apart
  bool canonical = false;       // Siglip: no punctuation, single blanks
  int64_t offset = 0;           // of the model's ids
  bool zero_is_unknown = false; // a piece with id 0 of the model gets the unknown id
  int64_t extra = 0;            // how much larger than the model the vocabulary is
  std::map<std::string, int64_t> fixed;  // ids that win over the model's
  std::optional<TokenTable> table;       // ids come from a file of their own
  std::string unknown = "<unk>";
};
std::shared_ptr<const SlowModel> make_slow_sentence_piece(SentencePiece model, SentencePieceSettings settings);

}  // namespace backplane::text
