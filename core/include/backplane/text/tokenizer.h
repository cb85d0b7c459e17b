#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/base/error.h"

namespace backplane {

class ModelInputs;

enum class Padding { none, longest, max_length, as_file };
enum class Truncation { none, longest_first, only_first, only_second, as_file };
enum class Side { left, right };

/// A token that is found in the text before the model sees it.
struct AddedToken {
  std::string content;
  bool single_word = false;  ///< only where no letter, digit or underscore touches it
  bool lstrip = false;       ///< takes the blanks before it
  bool rstrip = false;       ///< takes the blanks after it
  bool normalized = true;    ///< is looked for in the normalized text
  bool special = false;      ///< left out by `skip_special_tokens`
  bool operator==(const AddedToken&) const = default;
};

/// Arguments of a call. The defaults are those of `tokenizer(text)` in transformers; `as_file` takes what
/// tokenizer.json itself says, as the tokenizers library alone does.
struct EncodeOptions {
  bool add_special_tokens = true;
  Padding padding = Padding::none;
  Truncation truncation = Truncation::none;
  std::optional<int64_t> max_length;  ///< tokens, special ones included; absent: model_max_length
  int64_t stride = 0;                 ///< tokens that an overflowing part repeats
  bool return_overflowing_tokens = false;
  std::optional<int64_t> pad_to_multiple_of;
  std::optional<Side> padding_side;     ///< absent: the tokenizer's
  std::optional<Side> truncation_side;  ///< absent: the tokenizer's
  /// Bytes (begin, end) of the text in which no added token is looked for, so that what a user wrote never becomes a
  /// special token: "<|im_end|>" in it is plain text. Added tokens of blanks alone are found all the same.
  std::vector<std::pair<size_t, size_t>> plain_spans;
  bool as_target = false;               ///< as the target of a translation, in `tgt_lang`
  bool details = true;                  ///< tokens, offsets and word_ids, which cost time; the rest is always there
  int threads = 1;                      ///< of a batch
};

struct DecodeOptions {
  bool skip_special_tokens = false;
  std::optional<bool> clean_up_tokenization_spaces;  ///< absent: tokenizer_config.json's
};

/// What one text (or pair) became; the columns have one length. Text that is not UTF-8 is read as Python's
/// `decode("utf-8", "replace")` reads it, and offsets count the code points of that.
struct Encoding {
  using Offsets = std::pair<int64_t, int64_t>;
  struct SequenceRange {
    int64_t sequence, begin, end;
  };

  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;
  std::vector<std::string> tokens;
  std::vector<Offsets> offsets;       ///< begin and end in the text, in code points
  std::vector<int64_t> word_ids;      ///< -1: none
  std::vector<int64_t> attention_mask;
  std::vector<int64_t> special_tokens_mask;
  std::vector<int64_t> sequence_ids;  ///< 0 first text, 1 second, -1: none
  std::vector<Encoding> overflowing;  ///< the parts that truncation cut off; of a Python class one part of ids alone
  int64_t num_truncated_tokens = 0;   ///< of a Python class
  std::vector<SequenceRange> sequence_ranges;

  size_t size() const { return ids.size(); }
};

/// A text or a pair of texts, each whole or already split into words.
struct TextInput {
  std::string text;
  std::optional<std::string> pair;
  std::optional<std::vector<std::string>> words;  ///< in place of `text`
  std::optional<std::vector<std::string>> pair_words;
};

/// The encodings of several texts, and the columns that the model takes.
class BatchEncoding {
 public:
  using Rows = std::vector<std::vector<int64_t>>;

  std::vector<Encoding> encodings;
  std::vector<std::pair<std::string, Rows>> columns;  ///< in the order of the reference's dictionary
  std::vector<int64_t> overflow_to_sample_mapping;    ///< which text each row came from; empty without overflow

  size_t size() const { return encodings.size(); }
  bool contains(std::string_view name) const;
  /// Throws `invalid_value`, listing the columns there are.
  const Rows& operator[](std::string_view name) const;

  /// The columns as int64 tensors [batch, length]; rows must have one length. Defined in backplane-tensor.
  ModelInputs tensors() const;
};

struct TokenizerOptions {
  /// The class of transformers to be: "BertTokenizerFast", or "BertTokenizer" for what the Python class answers. Empty:
  /// tokenizer_config.json's `tokenizer_class`, the fast one where there is one.
  std::string tokenizer_class;
  /// Replaces keys of tokenizer_config.json; the value is JSON text.
  std::map<std::string, std::string> config;
};

/// A tokenizer.json: normalizer, pre-tokenizer, model, post-processor, decoder and added tokens, exactly as Rust
/// tokenizers 0.21, with the special tokens and defaults that transformers reads beside it; or a tokenizer class that
/// transformers has in Python alone, from vocabulary files of its own format.
/// Thread rule: const members may be called from any number of threads; the others need exclusive use.
class Tokenizer {
 public:
  /// Reads tokenizer.json, or the vocabulary files of the class (vocab.txt, vocab.json and merges.txt, *.model, …), and
  /// tokenizer_config.json, special_tokens_map.json and added_tokens.json of `folder`.
  /// Throws `file_not_found` or `bad_tokenizer`, naming file and key.
  static std::shared_ptr<Tokenizer> from_folder(const std::string& folder, const TokenizerOptions& options = {});
  /// `name` is the file for messages.
  static std::shared_ptr<Tokenizer> from_json(std::string_view tokenizer_json, const std::string& name = "tokenizer.json");
  /// The texts of tokenizer.json and tokenizer_config.json, from elsewhere than a folder.
  static std::shared_ptr<Tokenizer> from_texts(std::string_view tokenizer_json, std::string_view tokenizer_config_json, const std::string& name);
  ~Tokenizer();

  /// Throw `limit_exceeded` for a text of 4 GB, `invalid_value` for options that contradict each other, and
  /// `bad_tokenizer` where the text needs an unknown token that the vocabulary lacks.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view text, std::string_view pair, const EncodeOptions& options = {}) const;
  Encoding encode_words(const std::vector<std::string>& words, const EncodeOptions& options = {}) const;
  BatchEncoding encode_batch(const std::vector<std::string>& texts, const EncodeOptions& options = {}) const;
  BatchEncoding encode_pairs(const std::vector<std::pair<std::string, std::string>>& pairs,
                             const EncodeOptions& options = {}) const;
  BatchEncoding encode_inputs(const std::vector<TextInput>& inputs, const EncodeOptions& options = {}) const;
  /// Only the ids, without truncation or padding: the fast way.
  std::vector<int64_t> encode_ids(std::string_view text, bool add_special_tokens = true) const;

  std::string decode(const std::vector<int64_t>& ids, const DecodeOptions& options = {}) const;
  std::vector<std::string> batch_decode(const std::vector<std::vector<int64_t>>& ids,
                                        const DecodeOptions& options = {}) const;
  /// The text of tokens that are already strings, through the decoder.
  std::string convert_tokens_to_string(const std::vector<std::string>& tokens) const;
  std::vector<std::string> tokenize(std::string_view text, bool add_special_tokens = false) const;

  /// False for a class that transformers has in Python: no offsets and word_ids, and its own truncation and decoding.
  bool is_fast() const;
  std::optional<int64_t> token_to_id(std::string_view token) const;
  /// The unknown token's id for what is not there, -1 where there is none.
  std::vector<int64_t> convert_tokens_to_ids(const std::vector<std::string>& tokens) const;
  std::optional<std::string> id_to_token(int64_t id) const;
  int64_t vocab_size(bool with_added_tokens = false) const;
  /// Every token and its id, by id.
  std::vector<std::pair<std::string, int64_t>> vocab(bool with_added_tokens = true) const;
  std::map<int64_t, AddedToken> added_tokens() const;
  /// How many special tokens a text (or a pair) gets.
  int64_t num_special_tokens_to_add(bool pair = false) const;

  /// "bos", "eos", "unk", "sep", "pad", "cls", "mask", or an own name of tokenizer_config.json's extra special tokens.
  std::optional<std::string> special_token(std::string_view name) const;
  std::optional<int64_t> special_token_id(std::string_view name) const;
  std::optional<std::string> bos_token() const { return special_token("bos"); }
  std::optional<std::string> eos_token() const { return special_token("eos"); }
  std::optional<std::string> unk_token() const { return special_token("unk"); }
  std::optional<std::string> sep_token() const { return special_token("sep"); }
  std::optional<std::string> pad_token() const { return special_token("pad"); }
  std::optional<std::string> cls_token() const { return special_token("cls"); }
  std::optional<std::string> mask_token() const { return special_token("mask"); }
  std::optional<int64_t> bos_token_id() const { return special_token_id("bos"); }
  std::optional<int64_t> eos_token_id() const { return special_token_id("eos"); }
  std::optional<int64_t> unk_token_id() const { return special_token_id("unk"); }
  std::optional<int64_t> sep_token_id() const { return special_token_id("sep"); }
  std::optional<int64_t> pad_token_id() const { return special_token_id("pad"); }
  std::optional<int64_t> cls_token_id() const { return special_token_id("cls"); }
  std::optional<int64_t> mask_token_id() const { return special_token_id("mask"); }
  /// bos, eos, unk, sep, pad, cls, mask, then the additional ones; no doubles.
  std::vector<std::string> all_special_tokens() const;
  std::vector<int64_t> all_special_ids() const;
  /// Every special token that is set, by its name without "_token".
  std::vector<std::pair<std::string, std::string>> special_tokens_map() const;
  std::vector<std::string> additional_special_tokens() const;
  void set_special_token(const std::string& name, const std::string& token);

  std::optional<int64_t> model_max_length() const;
  Side padding_side() const;
  Side truncation_side() const;
  void set_padding_side(Side side);
  void set_truncation_side(Side side);
  /// tokenizer_config.json's `tokenizer_class`, or empty.
  const std::string& tokenizer_class() const;
  /// tokenizer_config.json as it is in use, as JSON text.
  std::string config() const;
  const std::vector<std::string>& model_input_names() const;
  int64_t pad_token_type_id() const;

  /// The methods of these names in transformers: special tokens around ids, without text. They follow the Python class,
  /// which for some classes differs from what a call does.
  std::vector<int64_t> build_inputs_with_special_tokens(const std::vector<int64_t>& first, const std::vector<int64_t>* second = nullptr) const;
  std::vector<int64_t> create_token_type_ids_from_sequences(const std::vector<int64_t>& first, const std::vector<int64_t>* second = nullptr) const;
  /// Throws `invalid_value` where the class does not tell.
  std::vector<int64_t> get_special_tokens_mask(const std::vector<int64_t>& first, const std::vector<int64_t>* second = nullptr) const;
  /// Of ids that have their special tokens.
  std::vector<int64_t> special_tokens_mask_of(const std::vector<int64_t>& ids) const;
  /// Puts other special tokens around texts: "bos A eos", "bos A B:1 eos:1". Special tokens by name, "=x" the token x,
  /// "#5" the id 5, A and B the texts; token types after a colon.
  void set_special_layout(const std::string& single, const std::string& pair);
  Encoding prepare_for_model(const std::vector<int64_t>& first, const std::vector<int64_t>* second, const EncodeOptions& options) const;
  /// Rows of ids to one length.
  BatchEncoding pad(const BatchEncoding::Rows& rows, const EncodeOptions& options) const;

  /// Languages of translation tokenizers (NLLB, mBART, M2M100, …), as their codes. Throw `invalid_value` for a tokenizer
  /// without languages.
  const std::string& src_lang() const;
  const std::string& tgt_lang() const;
  void set_src_lang(const std::string& code);
  void set_tgt_lang(const std::string& code);
  /// The first token that a model must generate for a language.
  int64_t language_id(const std::string& code) const;

  /// How many were new. A token of the vocabulary keeps its id.
  int64_t add_tokens(const std::vector<AddedToken>& tokens);
  int64_t add_special_tokens(const std::vector<AddedToken>& tokens);
  /// In place of those there were, which stay in the vocabulary.
  int64_t set_additional_special_tokens(const std::vector<AddedToken>& tokens);

  /// The templates' texts by name, "default" for the only or first one; tokenizer_config.json's `chat_template`,
  /// chat_template.jinja and additional_chat_templates/*.jinja.
  const std::map<std::string, std::string>& chat_templates() const;
  std::optional<std::string> chat_template(std::string_view name = "default") const;

  std::string to_json(bool pretty = true) const;
  /// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json.
  void save_pretrained(const std::string& folder) const;

  struct Impl;

 private:
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  friend class DecodeStream;
  std::unique_ptr<Impl> impl_;
};

/// Text as its ids arrive: a step returns what became certain, or nothing while the last characters are incomplete.
/// One thread at a time.
class DecodeStream {
 public:
  explicit DecodeStream(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = false)
      : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

  /// Throws `invalid_value` where the new text does not continue the old one.
  std::optional<std::string> step(int64_t id);
  /// What is still held back.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_tokens_;
  std::vector<int64_t> ids_;
  std::string prefix_;
  size_t prefix_index_ = 0;
};

}  // namespace backplane
