#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backplane/text/tokenizer.h"
#include "text/added_vocabulary.h"
#include "text/decoders.h"
#include "text/encoding_ops.h"
#include "text/model.h"
#include "text/normalizers.h"
#include "text/post_processors.h"
#include "text/pre_tokenizers.h"

namespace backplane {

struct Tokenizer::Impl {
  // tokenizer.json.
  std::string name;
  Json normalizer_json, pre_tokenizer_json, post_processor_json, decoder_json, truncation_json, padding_json;
  std::unique_ptr<text::Model> model;
  std::unique_ptr<text::Normalizer> normalizer;
  std::unique_ptr<text::PreTokenizer> pre_tokenizer;
  std::unique_ptr<text::PostProcessor> post_processor;
  std::unique_ptr<text::Decoder> decoder;
  text::AddedVocabulary added;
  std::optional<text::TruncationSettings> truncation;
  std::optional<text::PaddingSettings> padding;

  // What transformers adds.
  Json config = Json::object();
  std::vector<std::pair<std::string, std::string>> special_tokens;  // "bos" …, in the order of the reference
  std::vector<std::string> additional_special_tokens;
  std::optional<int64_t> model_max_length;
  Side padding_side = Side::right, truncation_side = Side::right;
  std::string tokenizer_class;
  std::vector<std::string> model_input_names{"input_ids", "token_type_ids", "attention_mask"};
  bool clean_up_tokenization_spaces = false;
  std::map<std::string, std::string> chat_templates;

  void set_normalizer(const Json& json);
  void set_pre_tokenizer(const Json& json, bool keeps_bytes);
  void set_post_processor(const Json& json);

  // Working memory, lent to one call at a time.
  class Borrowed {
   public:
    explicit Borrowed(const Impl& impl);
    ~Borrowed();
    text::Scratch& operator*() { return *scratch_; }

   private:
    const Impl& impl_;
    std::unique_ptr<text::Scratch> scratch_;
  };

  // One text without special tokens. `word` < 0: word ids count the pieces.
  void encode_text(std::string_view text, int64_t type_id, int64_t word, bool details, text::Scratch& scratch, Encoding& out) const;
  void append_ids(std::string_view text, text::Scratch& scratch, std::vector<int64_t>& ids) const;
  Encoding encode_sequence(const std::string& text, const std::optional<std::vector<std::string>>& words, int64_t type_id,
                           bool details, text::Scratch& scratch) const;
  Encoding encode_input(const TextInput& input, const EncodeOptions& options, const std::optional<text::TruncationSettings>& truncation) const;
  std::optional<text::TruncationSettings> truncation_of(const EncodeOptions& options) const;
  std::optional<text::PaddingSettings> padding_of(const EncodeOptions& options) const;
  size_t added_count(bool pair) const { return post_processor ? post_processor->added(pair) : 0; }

  std::optional<std::string> id_to_token(int64_t id) const;
  std::string decode_tokens(std::vector<std::string> tokens) const;

 private:
  template <class OnToken, class OnPieces>
  void for_each_part(std::string_view text, bool tracked, text::Scratch& scratch, OnToken on_token, OnPieces on_pieces) const;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<text::Scratch>> scratches_;
  friend class Borrowed;
};

namespace text {

// Reads tokenizer.json. Throws `bad_tokenizer`.
std::unique_ptr<Tokenizer::Impl> read_tokenizer_json(std::string_view json, const std::string& name);

// What a tokenizer class sets where tokenizer_config.json is silent.
void apply_class_defaults(const std::string& tokenizer_class, Tokenizer::Impl& impl);

AddedToken read_added_token(const Json& json, const std::string& where);

}  // namespace text
}  // namespace backplane
