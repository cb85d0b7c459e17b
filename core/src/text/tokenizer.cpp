#include "backplane/text/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "backplane/base/strings.h"
#include "text/tokenizer_impl.h"
#include "text/whisper_decoding.h"

namespace backplane {

using text::AlignedText;
using text::kNoId;
using text::ModelToken;
using text::Scratch;
using text::Span;

namespace {

// Valid UTF-8: the text itself, or a repaired copy in `storage`.
std::string_view repaired(std::string_view text, std::string& storage) {
  if (text.size() >= text::kTextBytes) throw Error(ErrorCode::limit_exceeded, concat("a text of ", text.size(), " bytes; at most 4 GB can be encoded"));
  if (text::valid_prefix(text) == text.size()) return text;
  storage = text::replace_invalid(text);
  if (storage.size() >= text::kTextBytes) throw Error(ErrorCode::limit_exceeded, "the text is longer than 4 GB");
  return storage;
}

// Byte positions of a text as code points.
class CodePoints {
 public:
  explicit CodePoints(std::string_view text) : text_(text) {
    counts_.reserve(text.size() / kStep + 1);
    uint32_t count = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i % kStep == 0) counts_.push_back(count);
      count += !text::is_continuation(text[i]);
    }
    total_ = count;
  }
  // Of the character that the byte belongs to; the end is after the last.
  int64_t at(uint32_t byte) const {
    if (byte >= text_.size()) return total_;
    uint32_t count = counts_[byte / kStep];
    for (uint32_t i = byte / kStep * kStep; i <= byte; ++i) count += !text::is_continuation(text_[i]);
    return static_cast<int64_t>(count) - 1;
  }

 private:
  static constexpr uint32_t kStep = 64;
  std::string_view text_;
  std::vector<uint32_t> counts_;
  uint32_t total_ = 0;
};

}  // namespace

Tokenizer::Impl::Borrowed::Borrowed(const Impl& impl) : impl_(impl) {
  const std::lock_guard lock(impl.mutex_);
  if (!impl.scratches_.empty()) {
    scratch_ = std::move(impl.scratches_.back());
    impl.scratches_.pop_back();
  }
  if (!scratch_) scratch_ = std::make_unique<Scratch>();
}

Tokenizer::Impl::Borrowed::~Borrowed() {
  const std::lock_guard lock(impl_.mutex_);
  impl_.scratches_.push_back(std::move(scratch_));
}

void Tokenizer::Impl::set_normalizer(const Json& json) {
  normalizer = text::make_normalizer(json, concat(name, ": normalizer"));
  normalizer_json = json;
}
void Tokenizer::Impl::set_pre_tokenizer(const Json& json, bool keeps_bytes) {
  pre_tokenizer = text::make_pre_tokenizer(json, keeps_bytes, concat(name, ": pre_tokenizer"));
  pre_tokenizer_json = json;
}
void Tokenizer::Impl::set_post_processor(const Json& json) {
  post_processor = text::make_post_processor(json, concat(name, ": post_processor"));
  post_processor_json = json;
}

// Calls on_token(id, its text, its original bytes) and on_pieces(normalized text, cuts) in the order of the text.
template <class OnToken, class OnPieces>
void Tokenizer::Impl::for_each_part(std::string_view text, bool tracked, Scratch& scratch, const Spans& plain, OnToken on_token, OnPieces on_pieces) const {
  tracked = tracked || !plain.empty() || (pre_tokenizer && pre_tokenizer->needs_spans());
  using Part = text::AddedVocabulary::Part;
  std::vector<Part> parts, inner;
  text::AddedVocabulary::Refuses refuses, refuses_inner;
  if (!plain.empty()) {
    refuses = [&](const AddedToken& token, Span span) {
      if (std::all_of(token.content.begin(), token.content.end(), [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; })) return false;
      return std::any_of(plain.begin(), plain.end(), [&](const auto& range) { return span.begin < range.second && range.first < span.end; });
    };
    refuses_inner = [&](const AddedToken& token, Span span) { return refuses(token, scratch.text.span(span)); };
  }
  added.split(text, false, parts, refuses);
  for (const Part& part : parts) {
    const std::string_view original = text.substr(part.span.begin, part.span.end - part.span.begin);
    if (part.id != kNoId) {
      on_token(part.id, original, part.span);
      continue;
    }
    AlignedText& normalized = scratch.text;
    normalized.reset(original, part.span.begin, tracked);
    if (normalizer) normalizer->apply(normalized);
    const auto pieces = [&](AlignedText& piece) {
      if (piece.text().empty()) return;
      scratch.cuts.assign(1, {0, static_cast<uint32_t>(piece.text().size())});
      if (pre_tokenizer) pre_tokenizer->apply(piece, scratch.cuts, scratch);
      on_pieces(piece);
    };
    if (!added.looks_in_normalized()) {
      pieces(normalized);
      continue;
    }
    inner.clear();
    added.split(normalized.text(), true, inner, refuses_inner);
    if (inner.size() == 1 && inner[0].id == kNoId) {
      pieces(normalized);
      continue;
    }
    for (const Part& found : inner) {
      if (found.id != kNoId) {
        on_token(found.id, normalized.text().substr(found.span.begin, found.span.end - found.span.begin),
                 tracked ? normalized.span(found.span) : Span{0, 0});
        continue;
      }
      scratch.part.reset(normalized, found.span);
      pieces(scratch.part);
    }
  }
}

void Tokenizer::Impl::append_ids(std::string_view text, Scratch& scratch, std::vector<int64_t>& ids, const Spans& plain) const {
  for_each_part(
      text, false, scratch, plain, [&](uint32_t id, std::string_view, Span) { ids.push_back(id); },
      [&](const AlignedText& piece) { model->append_ids(piece.text(), scratch.cuts, scratch, ids); });
}

void Tokenizer::Impl::encode_text(std::string_view input, int64_t type_id, int64_t word, bool details, Scratch& scratch, Encoding& out, const Spans& given) const {
  std::string storage;
  const std::string_view text = repaired(input, storage);
  // In a repaired text the places are others; all of it is plain then.
  const Spans whole{{0, text.size()}};
  const Spans& plain = given.empty() || storage.empty() ? given : whole;
  const size_t before = out.size();
  if (!details) {
    append_ids(text, scratch, out.ids, plain);
  } else {
    const CodePoints code_points(text);
    int64_t piece_index = 0;
    const auto add = [&](uint32_t id, std::string token, Span span) {
      out.ids.push_back(id);
      out.tokens.push_back(std::move(token));
      out.offsets.emplace_back(code_points.at(span.begin), code_points.at(span.end));
      out.word_ids.push_back(word < 0 ? piece_index : word);
    };
    for_each_part(
        text, true, scratch, plain,
        [&](uint32_t id, std::string_view token, Span span) {
          add(id, std::string(token), span);
          ++piece_index;
        },
        [&](const AlignedText& piece) {
          for (const Span& cut : scratch.cuts) {
            const std::string_view bytes = piece.text().substr(cut.begin, cut.end - cut.begin);
            scratch.tokens.clear();
            model->tokenize(bytes, scratch, scratch.tokens);
            for (const ModelToken& token : scratch.tokens) {
              std::string value = token.verbatim ? std::string(bytes.substr(token.begin, token.end - token.begin)) : model->vocabulary().token(token.id);
              const Span part{cut.begin + token.begin, std::min(cut.begin + token.end, cut.end)};
              Span span;
              if (part.begin < part.end) {
                span = piece.span(part);
              } else {
                const uint32_t start = piece.span(cut).begin;
                span = {start + token.begin, start + token.begin};
              }
              add(token.id, std::move(value), span);
            }
            ++piece_index;
          }
        });
  }
  const size_t count = out.size() - before;
  out.type_ids.insert(out.type_ids.end(), count, type_id);
  out.attention_mask.insert(out.attention_mask.end(), count, 1);
  out.special_tokens_mask.insert(out.special_tokens_mask.end(), count, 0);
}

Encoding Tokenizer::Impl::encode_sequence(const std::string& text, const std::optional<std::vector<std::string>>& words, int64_t type_id,
                                          bool details, Scratch& scratch, const Spans& plain) const {
  Encoding out;
  if (!words) {
    encode_text(text, type_id, -1, details, scratch, out, plain);
  } else {
    for (size_t i = 0; i < words->size(); ++i) encode_text((*words)[i], type_id, static_cast<int64_t>(i), details, scratch, out);
  }
  return out;
}

std::optional<text::TruncationSettings> Tokenizer::Impl::truncation_of(const EncodeOptions& options) const {
  if (options.truncation == Truncation::none) return std::nullopt;
  if (options.truncation == Truncation::as_file) return truncation;
  // transformers does not truncate where nothing says how long a text may be.
  if (!options.max_length && !model_max_length) return std::nullopt;
  const int64_t most = options.max_length ? *options.max_length : *model_max_length;
  if (most < 0) throw Error(ErrorCode::invalid_value, concat("max_length is ", most, ", expected 0 or more"));
  if (options.stride < 0) throw Error(ErrorCode::invalid_value, concat("stride is ", options.stride, ", expected 0 or more"));
  text::TruncationSettings settings;
  settings.max_length = static_cast<uint64_t>(most);
  settings.stride = static_cast<uint64_t>(options.stride);
  settings.strategy = options.truncation;
  settings.direction = options.truncation_side.value_or(truncation_side);
  // As the reference, less than the special tokens wraps round: nothing is cut off.
  if (settings.max_length - added_count(false) < settings.stride)
    throw Error(ErrorCode::invalid_value, concat("stride (", options.stride, ") is more than the ", most, " tokens of max_length leave beside the special tokens"));
  return settings;
}

std::optional<text::PaddingSettings> Tokenizer::Impl::padding_of(const EncodeOptions& options) const {
  if (options.padding == Padding::none) return std::nullopt;
  if (options.padding == Padding::as_file) return padding;
  text::PaddingSettings settings;
  const std::string* pad = special("pad");
  if (!pad)
    throw Error(ErrorCode::invalid_value, "the tokenizer has no padding token; set one with set_special_token(\"pad\", …)");
  settings.token = *pad;
  uint32_t id = added.find(*pad);
  if (id == kNoId) id = model->vocabulary().find_token(*pad);
  if (id == kNoId) throw Error(ErrorCode::invalid_value, concat("the padding token '", *pad, "' is not in the vocabulary"));
  settings.id = id;
  settings.type_id = pad_token_type_id;
  settings.direction = options.padding_side.value_or(padding_side);
  if (options.pad_to_multiple_of) {
    if (*options.pad_to_multiple_of < 1) throw Error(ErrorCode::invalid_value, "pad_to_multiple_of must be 1 or more");
    settings.multiple_of = static_cast<uint64_t>(*options.pad_to_multiple_of);
  }
  if (options.padding == Padding::max_length) {
    const std::optional<int64_t> length = options.max_length ? options.max_length : model_max_length;
    if (!length || *length < 0) return std::nullopt;
    settings.length = static_cast<uint64_t>(*length);
  }
  return settings;
}

Encoding Tokenizer::Impl::encode_input(const TextInput& input, const EncodeOptions& options,
                                       const std::optional<text::TruncationSettings>& settings) const {
  Borrowed scratch(*this);
  std::vector<Encoding> parts;
  parts.push_back(encode_sequence(input.text, input.words, 0, options.details, *scratch, options.plain_spans));
  const bool pair = input.pair || input.pair_words;
  if (pair) parts.push_back(encode_sequence(input.pair.value_or(""), input.pair_words, 1, options.details, *scratch));
  if (settings) {
    text::TruncationSettings left = *settings;
    if (options.add_special_tokens) left.max_length -= added_count(pair);
    text::truncate_pair(parts[0], pair ? &parts[1] : nullptr, left);
  }
  const auto* processor = options.as_target && target_post_processor ? target_post_processor.get() : post_processor.get();
  return text::post_process(processor, std::move(parts), options.add_special_tokens, options.details);
}

std::optional<std::string> Tokenizer::Impl::id_to_token(int64_t id) const {
  if (slow) return slow->token(id);
  if (id < 0 || id > UINT32_MAX) return std::nullopt;
  if (const AddedToken* token = added.token(static_cast<uint32_t>(id))) return token->content;
  if (!model->vocabulary().contains(static_cast<uint64_t>(id))) return std::nullopt;
  return model->vocabulary().token(static_cast<uint32_t>(id));
}

std::string Tokenizer::Impl::decode_tokens(std::vector<std::string> tokens) const {
  if (!decoder) return join(tokens, " ");
  decoder->apply(tokens);
  return join(tokens, "");
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json, const std::string& name) {
  return std::shared_ptr<Tokenizer>(new Tokenizer(text::read_tokenizer_json(tokenizer_json, name)));
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return std::move(encode_inputs({{.text = std::string(text)}}, options).encodings[0]);
}
Encoding Tokenizer::encode_pair(std::string_view text, std::string_view pair, const EncodeOptions& options) const {
  return std::move(encode_inputs({{.text = std::string(text), .pair = std::string(pair)}}, options).encodings[0]);
}
Encoding Tokenizer::encode_words(const std::vector<std::string>& words, const EncodeOptions& options) const {
  return std::move(encode_inputs({{.words = words}}, options).encodings[0]);
}

BatchEncoding Tokenizer::encode_batch(const std::vector<std::string>& texts, const EncodeOptions& options) const {
  std::vector<TextInput> inputs;
  for (const std::string& text : texts) inputs.push_back({.text = text});
  return encode_inputs(inputs, options);
}
BatchEncoding Tokenizer::encode_pairs(const std::vector<std::pair<std::string, std::string>>& pairs, const EncodeOptions& options) const {
  std::vector<TextInput> inputs;
  for (const auto& [text, pair] : pairs) inputs.push_back({.text = text, .pair = pair});
  return encode_inputs(inputs, options);
}

BatchEncoding Tokenizer::encode_inputs(const std::vector<TextInput>& inputs, const EncodeOptions& options) const {
  if (impl_->slow) return impl_->encode_slow(inputs, options);
  if (impl_->words_need_prefix_space && std::any_of(inputs.begin(), inputs.end(), [](const TextInput& input) { return input.words || input.pair_words; }))
    throw Error(ErrorCode::invalid_value, concat(impl_->tokenizer_class, " takes words only with add_prefix_space; set it in tokenizer_config.json"));
  const auto truncation = impl_->truncation_of(options);
  const auto padding = impl_->padding_of(options);
  BatchEncoding batch;
  std::vector<Encoding> whole(inputs.size());
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    try {
      for (size_t i; (i = next++) < inputs.size();) whole[i] = impl_->encode_input(inputs[i], options, truncation);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = inputs.size();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < options.threads && static_cast<size_t>(i) < inputs.size(); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);

  if (padding) {
    std::vector<Encoding*> all;
    for (Encoding& encoding : whole) all.push_back(&encoding);
    text::pad_all(all, *padding, options.details);
  }
  const auto row = [&](const Encoding& encoding) {
    for (auto& [name, rows] : batch.columns)
      rows.push_back(name == "input_ids" ? encoding.ids : name == "token_type_ids" ? encoding.type_ids : encoding.attention_mask);
  };
  const auto& names = impl_->model_input_names;
  batch.columns.emplace_back("input_ids", BatchEncoding::Rows());
  for (const char* name : {"token_type_ids", "attention_mask"})
    if (std::find(names.begin(), names.end(), name) != names.end()) batch.columns.emplace_back(name, BatchEncoding::Rows());
  for (size_t i = 0; i < whole.size(); ++i) {
    text::finish(whole[i]);
    row(whole[i]);
    if (options.return_overflowing_tokens) {
      batch.overflow_to_sample_mapping.push_back(static_cast<int64_t>(i));
      for (const Encoding& more : whole[i].overflowing) {
        row(more);
        batch.overflow_to_sample_mapping.push_back(static_cast<int64_t>(i));
      }
    }
  }
  batch.encodings = std::move(whole);
  return batch;
}

std::vector<int64_t> Tokenizer::encode_ids(std::string_view input, bool add_special_tokens) const {
  if (impl_->slow) return encode(input, {.add_special_tokens = add_special_tokens, .details = false}).ids;
  std::string storage;
  const std::string_view text = repaired(input, storage);
  std::vector<int64_t> ids;
  ids.reserve(text.size() / 4 + 8);
  Impl::Borrowed scratch(*impl_);
  if (!impl_->post_processor || !add_special_tokens) {
    impl_->append_ids(text, *scratch, ids);
    return ids;
  }
  // What goes before and after is the same for every text.
  Encoding marker;
  marker.ids = {-1};
  marker.type_ids = marker.attention_mask = marker.special_tokens_mask = {0};
  const Encoding frame = text::post_process(impl_->post_processor.get(), {marker}, true, false);
  for (const int64_t id : frame.ids) {
    if (id >= 0) ids.push_back(id);
    else impl_->append_ids(text, *scratch, ids);
  }
  return ids;
}

std::string Tokenizer::decode(const std::vector<int64_t>& given, const DecodeOptions& options) const {
  const bool clean_up = options.clean_up_tokenization_spaces.value_or(impl_->clean_up_tokenization_spaces);
  const bool whisper = impl_->filters_timestamps;
  const std::vector<int64_t> stripped = whisper && options.skip_special_tokens ? text::strip_prompt(*this, given) : std::vector<int64_t>();
  const auto& ids = whisper && options.skip_special_tokens ? stripped : given;
  if (impl_->slow) {
    std::string text = impl_->slow->decode(ids, options.skip_special_tokens);
    if (whisper) return text::without_timestamps(text);
    return clean_up && impl_->slow->model().cleans_up() ? text::clean_up_tokenization(std::move(text)) : text;
  }
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int64_t id : ids) {
    std::optional<std::string> token = impl_->id_to_token(id);
    if (!token || (options.skip_special_tokens && impl_->added.is_special(*token))) continue;
    tokens.push_back(std::move(*token));
  }
  std::string text = impl_->decode_tokens(std::move(tokens));
  if (clean_up) text = text::clean_up_tokenization(std::move(text));
  if (whisper) text = text::without_timestamps(text);
  return text;
}

std::vector<std::string> Tokenizer::batch_decode(const std::vector<std::vector<int64_t>>& ids, const DecodeOptions& options) const {
  std::vector<std::string> texts;
  for (const auto& row : ids) texts.push_back(decode(row, options));
  return texts;
}

std::string Tokenizer::convert_tokens_to_string(const std::vector<std::string>& tokens) const {
  if (impl_->slow) return impl_->slow->join(tokens);
  return impl_->decode_tokens(tokens);
}

std::vector<std::string> Tokenizer::tokenize(std::string_view text, bool add_special_tokens) const {
  if (impl_->slow && !add_special_tokens) return impl_->slow->tokenize(text::replace_invalid(text));
  return encode(text, {.add_special_tokens = add_special_tokens}).tokens;
}

bool Tokenizer::is_fast() const { return !impl_->slow; }

std::optional<int64_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const auto* slow = impl_->slow.get()) {
    const std::string text(token);
    const int64_t id = slow->id(text);
    return id != text::kNone && slow->token(id) == text ? std::optional(id) : std::nullopt;
  }
  uint32_t id = impl_->added.find(token);
  if (id == kNoId) id = impl_->model->vocabulary().find_token(token);
  if (id == kNoId) return std::nullopt;
  return id;
}
std::optional<std::string> Tokenizer::id_to_token(int64_t id) const { return impl_->id_to_token(id); }

int64_t Tokenizer::vocab_size(bool with_added_tokens) const {
  if (const auto* slow = impl_->slow.get()) return with_added_tokens ? slow->size() : slow->model().size();
  const auto& vocabulary = impl_->model->vocabulary();
  auto size = static_cast<int64_t>(vocabulary.count());
  if (with_added_tokens)
    for (const auto& [token, id] : impl_->added.ids()) size += vocabulary.find_token(token) == kNoId;
  return size;
}

std::vector<std::pair<std::string, int64_t>> Tokenizer::vocab(bool with_added_tokens) const {
  std::vector<std::pair<std::string, int64_t>> entries;
  if (const auto* slow = impl_->slow.get()) {
    const auto& added = slow->added();
    for (int64_t id = 0; id < slow->model().size(); ++id)
      if (auto token = with_added_tokens ? slow->token(id) : slow->model().token(id)) entries.emplace_back(*token, id);
    if (with_added_tokens)
      for (const auto& [id, token] : added)
        if (id >= slow->model().size()) entries.emplace_back(token.content, id);
    return entries;
  }
  const auto& vocabulary = impl_->model->vocabulary();
  for (uint32_t id = 0; id < vocabulary.id_limit(); ++id)
    if (vocabulary.contains(id)) entries.emplace_back(vocabulary.token(id), id);
  if (with_added_tokens)
    for (const auto& [token, id] : impl_->added.ids())
      if (vocabulary.find_token(token) == kNoId) entries.emplace_back(token, id);
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return entries;
}

std::map<int64_t, AddedToken> Tokenizer::added_tokens() const {
  if (impl_->slow) return impl_->slow->added();
  std::map<int64_t, AddedToken> tokens;
  for (const auto& [id, token] : impl_->added.tokens()) tokens.emplace(id, token);
  return tokens;
}

int64_t Tokenizer::num_special_tokens_to_add(bool pair) const {
  const std::vector<int64_t> none;
  if (impl_->slow) return static_cast<int64_t>(impl_->build(impl_->layout, none, pair ? &none : nullptr).size());
  return static_cast<int64_t>(impl_->added_count(pair));
}

std::optional<std::string> Tokenizer::special_token(std::string_view name) const {
  if (name.ends_with("_token")) name.remove_suffix(6);
  const std::string* token = impl_->special(name);
  return token ? std::optional(*token) : std::nullopt;
}
std::optional<int64_t> Tokenizer::special_token_id(std::string_view name) const {
  const auto token = special_token(name);
  if (!token) return std::nullopt;
  if (const auto id = token_to_id(*token)) return id;
  return name == "unk" ? std::nullopt : special_token_id("unk");
}
std::vector<std::string> Tokenizer::all_special_tokens() const { return impl_->all_special_tokens(); }
std::vector<int64_t> Tokenizer::all_special_ids() const {
  return convert_tokens_to_ids(all_special_tokens());
}
std::vector<std::pair<std::string, std::string>> Tokenizer::special_tokens_map() const {
  auto map = impl_->special_tokens;
  map.insert(map.end(), impl_->extra_special_tokens.begin(), impl_->extra_special_tokens.end());
  return map;
}
std::vector<std::string> Tokenizer::additional_special_tokens() const { return impl_->additional_special_tokens; }

void Tokenizer::set_special_token(const std::string& name, const std::string& token) {
  for (auto& entry : impl_->special_tokens) {
    if (entry.first != name) continue;
    entry.second = token;
    return;
  }
  impl_->special_tokens.emplace_back(name, token);
}

std::optional<int64_t> Tokenizer::model_max_length() const { return impl_->model_max_length; }
Side Tokenizer::padding_side() const { return impl_->padding_side; }
Side Tokenizer::truncation_side() const { return impl_->truncation_side; }
void Tokenizer::set_padding_side(Side side) { impl_->padding_side = side; }
void Tokenizer::set_truncation_side(Side side) { impl_->truncation_side = side; }
std::string Tokenizer::config() const { return impl_->config.dump(); }
const std::string& Tokenizer::tokenizer_class() const { return impl_->tokenizer_class; }
const std::vector<std::string>& Tokenizer::model_input_names() const { return impl_->model_input_names; }

int64_t Tokenizer::add_tokens(const std::vector<AddedToken>& tokens) {
  if (impl_->slow) return impl_->slow->add_tokens(tokens, false);
  return static_cast<int64_t>(impl_->added.add(tokens, impl_->model->vocabulary(), impl_->normalizer.get()));
}
int64_t Tokenizer::add_special_tokens(const std::vector<AddedToken>& tokens) {
  std::vector<AddedToken> special = tokens;
  for (AddedToken& token : special) token.special = true;
  auto& additional = impl_->additional_special_tokens;
  const auto all = all_special_tokens();
  for (const AddedToken& token : special)
    if (std::find(all.begin(), all.end(), token.content) == all.end()) additional.push_back(token.content);
  return impl_->slow ? impl_->slow->add_tokens(special, true) : add_tokens(special);
}

int64_t Tokenizer::set_additional_special_tokens(const std::vector<AddedToken>& tokens) {
  impl_->additional_special_tokens.clear();
  for (const AddedToken& token : tokens) impl_->additional_special_tokens.push_back(token.content);
  return add_special_tokens(tokens);
}

const std::map<std::string, std::string>& Tokenizer::chat_templates() const { return impl_->chat_templates; }
std::optional<std::string> Tokenizer::chat_template(std::string_view name) const {
  const auto found = impl_->chat_templates.find(std::string(name));
  if (found == impl_->chat_templates.end()) return std::nullopt;
  return found->second;
}

bool BatchEncoding::contains(std::string_view name) const {
  return std::any_of(columns.begin(), columns.end(), [&](const auto& column) { return column.first == name; });
}
const BatchEncoding::Rows& BatchEncoding::operator[](std::string_view name) const {
  std::vector<std::string> names;
  for (const auto& [key, rows] : columns) {
    if (key == name) return rows;
    names.push_back(key);
  }
  throw Error(ErrorCode::invalid_value, concat("no column '", name, "'; there are ", join(names)));
}

std::optional<std::string> DecodeStream::step(int64_t id) {
  constexpr std::string_view kIncomplete = "\xEF\xBF\xBD";
  const DecodeOptions options{.skip_special_tokens = skip_special_tokens_, .clean_up_tokenization_spaces = false};
  if (prefix_.empty() && !ids_.empty()) {
    std::string prefix = tokenizer_->decode(ids_, options);
    if (!prefix.ends_with(kIncomplete)) {
      prefix_ = std::move(prefix);
      prefix_index_ = ids_.size();
    }
  }
  ids_.push_back(id);
  const std::string text = tokenizer_->decode(ids_, options);
  if (text.size() <= prefix_.size() || text.ends_with(kIncomplete)) return std::nullopt;
  if (!text.starts_with(prefix_))
    throw Error(ErrorCode::invalid_value, concat("the text '", text, "' does not continue '", prefix_, "'; streaming needs tokens that only append"));
  std::string fresh = text.substr(prefix_.size());
  const size_t next_index = ids_.size() - prefix_index_;
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<ptrdiff_t>(prefix_index_));
  prefix_ = tokenizer_->decode(ids_, options);
  prefix_index_ = next_index;
  return fresh;
}

std::string DecodeStream::finish() {
  const std::string text = tokenizer_->decode(ids_, {.skip_special_tokens = skip_special_tokens_, .clean_up_tokenization_spaces = false});
  std::string fresh = text.size() > prefix_.size() && text.starts_with(prefix_) ? text.substr(prefix_.size()) : "";
  ids_.clear();
  prefix_.clear();
  prefix_index_ = 0;
  return fresh;
}

}  // namespace backplane
