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
#include "text/slow_tokenizer.h"
#include "text/tokenizer_state.h"

namespace backplane {

struct Tokenizer::Impl : text::TokenizerState {
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
  std::map<std::string, std::string> chat_templates;
  std::unique_ptr<text::SlowTokenizer> slow;  // in place of the engine
  // How a translation's target is encoded, where that differs.
  std::unique_ptr<text::SlowTokenizer> slow_target;
  std::unique_ptr<text::PostProcessor> target_post_processor;
  text::SpecialLayout source_template, target_template;  // with "lang" in them
  std::optional<text::SpecialLayout> target_layout;

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
  using Spans = std::vector<std::pair<size_t, size_t>>;
  void encode_text(std::string_view text, int64_t type_id, int64_t word, bool details, text::Scratch& scratch, Encoding& out, const Spans& plain = {}) const;
  void append_ids(std::string_view text, text::Scratch& scratch, std::vector<int64_t>& ids, const Spans& plain = {}) const;
  Encoding encode_sequence(const std::string& text, const std::optional<std::vector<std::string>>& words, int64_t type_id,
                           bool details, text::Scratch& scratch, const Spans& plain = {}) const;
  Encoding encode_input(const TextInput& input, const EncodeOptions& options, const std::optional<text::TruncationSettings>& truncation) const;
  std::optional<text::TruncationSettings> truncation_of(const EncodeOptions& options) const;
  std::optional<text::PaddingSettings> padding_of(const EncodeOptions& options) const;
  size_t added_count(bool pair) const { return post_processor ? post_processor->added(pair) : 0; }

  // The Python classes' methods.
  std::vector<int64_t> build(const text::SpecialLayout& layout, const std::vector<int64_t>& first, const std::vector<int64_t>* second) const;
  std::vector<int64_t> types(const text::SpecialLayout& layout, size_t first, const size_t* second) const;
  std::vector<int64_t> special_mask(const text::SpecialLayout& layout, const std::vector<int64_t>& first, const std::vector<int64_t>* second) const;
  Encoding prepare(const text::SpecialLayout& layout, std::vector<int64_t> first, std::optional<std::vector<int64_t>> second, const EncodeOptions& options) const;
  void pad_slow(std::vector<Encoding>& encodings, const EncodeOptions& options) const;
  BatchEncoding encode_slow(const std::vector<TextInput>& inputs, const EncodeOptions& options) const;
  const text::SpecialLayout& layout_of(const EncodeOptions& options) const;
  // The id, the unknown token's, or kNone.
  int64_t token_id(const std::string& token) const;
  void apply_languages();

  std::optional<std::string> id_to_token(int64_t id) const;
  std::string decode_tokens(std::vector<std::string> tokens) const;

 private:
  template <class OnToken, class OnPieces>
  void for_each_part(std::string_view text, bool tracked, text::Scratch& scratch, const Spans& plain, OnToken on_token, OnPieces on_pieces) const;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<text::Scratch>> scratches_;
  friend class Borrowed;
};

namespace text {

// Reads tokenizer.json. Throws `bad_tokenizer`.
std::unique_ptr<Tokenizer::Impl> read_tokenizer_json(std::string_view json, const std::string& name);

AddedToken read_added_token(const Json& json, const std::string& where);

}  // namespace text
}  // namespace backplane
