// What transformers does around a tokenizer in Python: special tokens by class, truncation and padding of ids.
#include <algorithm>

#include "backplane/base/strings.h"
#include "text/tokenizer_classes.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace backplane {

using text::kNone;
using text::SpecialLayout;

namespace {

struct Item {
  std::string_view name;
  int64_t type = 0;
};

std::vector<Item> items_of(const std::string& layout) {
  std::vector<Item> items;
  const std::string_view text = layout;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    std::string_view word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    Item item{word};
    if (word.size() > 2 && word[word.size() - 2] == ':') item = {word.substr(0, word.size() - 2), word.back() - '0'};
    items.push_back(item);
  }
  return items;
}

// Cuts `count` ids off; returns them with `stride` of the others beside them.
std::vector<int64_t> shorten(std::vector<int64_t>& ids, size_t count, size_t stride, Side side) {
  const auto cut = static_cast<ptrdiff_t>(std::min(count, ids.size())), window = static_cast<ptrdiff_t>(std::min(ids.size(), stride + count));
  std::vector<int64_t> over;
  if (side == Side::left) {
    over.assign(ids.begin(), ids.begin() + window);
    ids.erase(ids.begin(), ids.begin() + cut);
  } else {
    over.assign(ids.end() - window, ids.end());
    ids.erase(ids.end() - cut, ids.end());
  }
  return over;
}

}  // namespace

int64_t Tokenizer::Impl::token_id(const std::string& token) const {
  if (slow) return slow->id(token);
  uint32_t id = added.find(token);
  if (id == text::kNoId) id = model->vocabulary().find_token(token);
  if (id != text::kNoId) return id;
  const std::string* unknown = special("unk");
  return unknown && *unknown != token ? token_id(*unknown) : kNone;
}

std::vector<int64_t> Tokenizer::Impl::build(const SpecialLayout& layout, const std::vector<int64_t>& first, const std::vector<int64_t>* second) const {
  std::vector<int64_t> ids;
  for (const Item& item : items_of(second ? layout.pair : layout.single)) {
    if (item.name == "A") {
      ids.insert(ids.end(), first.begin(), first.end());
    } else if (item.name == "B") {
      ids.insert(ids.end(), second->begin(), second->end());
    } else if (item.name == "eos?") {
      // Unless the text before it ends with one.
      const int64_t eos = token_id(special("eos") ? *special("eos") : "");
      const bool after_b = second && ids.size() > first.size() + 1;
      const auto& text = after_b ? *second : first;
      if (text.empty() || text.back() != eos) ids.push_back(eos);
    } else if (item.name.starts_with('#')) {
      ids.push_back(std::stoll(std::string(item.name.substr(1))));
    } else if (item.name.starts_with('=')) {
      ids.push_back(token_id(std::string(item.name.substr(1))));
    } else if (const std::string* token = special(item.name)) {
      ids.push_back(token_id(*token));
    } else {
      ids.push_back(kNone);
    }
  }
  return ids;
}

std::vector<int64_t> Tokenizer::Impl::types(const SpecialLayout& layout, size_t first, const size_t* second) const {
  std::vector<int64_t> types;
  if (layout.types == SpecialLayout::Types::by_count) {
    const size_t cls = special("cls") ? 1 : 0, sep = special("sep") ? 1 : 0;
    types.assign(cls + first + sep, 0);
    if (second) types.insert(types.end(), *second + sep, 1);
    return types;
  }
  if (layout.types == SpecialLayout::Types::roberta) return std::vector<int64_t>(second ? first + *second + 4 : first + 2, 0);
  for (const Item& item : items_of(second ? layout.pair : layout.single)) {
    const size_t count = item.name == "A" ? first : item.name == "B" ? *second : 1;
    types.insert(types.end(), count, layout.types == SpecialLayout::Types::zero ? 0 : item.type);
  }
  return types;
}

std::vector<int64_t> Tokenizer::Impl::special_mask(const SpecialLayout& layout, const std::vector<int64_t>& first, const std::vector<int64_t>* second) const {
  const size_t count = second ? second->size() : 0;
  using Masks = SpecialLayout::Masks;
  std::vector<int64_t> mask;
  if (layout.masks == Masks::none) return std::vector<int64_t>(first.size() + count, 0);
  if (layout.masks == Masks::by_id) {
    std::vector<int64_t> special;
    for (const std::string& token : all_special_tokens())
      if (!this->special("unk") || token != *this->special("unk")) special.push_back(token_id(token));
    for (const auto* ids : {&first, second})
      if (ids) for (const int64_t id : *ids) mask.push_back(std::find(special.begin(), special.end(), id) != special.end());
    mask.push_back(1);
    return mask;
  }
  std::string pattern = second ? layout.pair : layout.single;
  if (layout.masks == Masks::roberta) pattern = second ? "cls A sep sep B sep" : "cls A sep";
  if (layout.masks == Masks::bert) pattern = second ? "cls A sep B sep" : "cls A sep";
  for (const Item& item : items_of(pattern)) {
    const bool text = item.name == "A" || item.name == "B";
    mask.insert(mask.end(), item.name == "A" ? first.size() : item.name == "B" ? count : 1, text ? 0 : 1);
  }
  return mask;
}

const SpecialLayout& Tokenizer::Impl::layout_of(const EncodeOptions& options) const { return options.as_target && target_layout ? *target_layout : layout; }

Encoding Tokenizer::Impl::prepare(const SpecialLayout& layout, std::vector<int64_t> first, std::optional<std::vector<int64_t>> second, const EncodeOptions& options) const {
  if (options.return_overflowing_tokens && options.truncation == Truncation::longest_first && second)
    throw Error(ErrorCode::invalid_value, "overflowing tokens of a pair need truncation only_first or only_second, not longest_first");
  const std::vector<int64_t> none;
  const size_t extra = !options.add_special_tokens ? 0 : slow ? build(layout, none, second ? &none : nullptr).size() : added_count(second.has_value());
  const size_t total = first.size() + (second ? second->size() : 0) + extra;
  const std::optional<int64_t> most = options.max_length ? options.max_length : model_max_length;
  const Side side = options.truncation_side.value_or(truncation_side);
  Encoding out;
  std::vector<int64_t> over;
  if (most && *most > 0 && total > static_cast<size_t>(*most) && options.truncation != Truncation::none) {
    const size_t remove = total - static_cast<size_t>(*most);
    const auto stride = static_cast<size_t>(std::max<int64_t>(options.stride, 0));
    if (options.truncation == Truncation::only_second) {
      if (second && second->size() > remove) over = shorten(*second, remove, stride, side);
    } else if (options.truncation == Truncation::only_first || !second) {
      if (first.size() > remove) over = shorten(first, remove, stride, side);
    } else {
      const size_t a = first.size(), b = second->size();
      const size_t longer = std::min(a > b ? a - b : b - a, remove), both = remove - longer;
      shorten(first, a > b ? longer + both / 2 : both / 2, 0, side);
      shorten(*second, a > b ? both - both / 2 : longer + both - both / 2, 0, side);
    }
  }
  const auto* pair = second ? &*second : nullptr;
  if (options.add_special_tokens) {
    const size_t count = second ? second->size() : 0;
    out.ids = build(layout, first, pair);
    out.type_ids = types(layout, first.size(), second ? &count : nullptr);
    out.special_tokens_mask = special_mask(layout, first, pair);
  } else {
    out.ids = first;
    if (pair) out.ids.insert(out.ids.end(), pair->begin(), pair->end());
    out.type_ids.assign(out.ids.size(), 0);
    out.special_tokens_mask.assign(out.ids.size(), 0);
  }
  out.attention_mask.assign(out.ids.size(), 1);
  if (options.details)
    for (const int64_t id : out.ids) out.tokens.push_back(id_to_token(id).value_or(""));
  if (options.return_overflowing_tokens) {
    out.num_truncated_tokens = static_cast<int64_t>(total) - most.value_or(static_cast<int64_t>(total));
    Encoding rest;
    rest.ids = std::move(over);
    out.overflowing.push_back(std::move(rest));
  }
  return out;
}

void Tokenizer::Impl::pad_slow(std::vector<Encoding>& encodings, const EncodeOptions& options) const {
  if (options.padding != Padding::longest && options.padding != Padding::max_length) return;
  std::optional<int64_t> length = options.max_length ? options.max_length : model_max_length;
  if (options.padding == Padding::longest) {
    length = 0;
    for (const Encoding& encoding : encodings) length = std::max(*length, static_cast<int64_t>(encoding.size()));
  }
  if (!length) return;
  const std::string* token = special("pad");
  if (!token) throw Error(ErrorCode::invalid_value, "padding is asked for, but the tokenizer has no padding token; set one with set_special_token(\"pad\", …)");
  if (options.pad_to_multiple_of) {
    const int64_t unit = *options.pad_to_multiple_of;
    if (unit < 1) throw Error(ErrorCode::invalid_value, "pad_to_multiple_of must be 1 or more");
    if (options.truncation != Truncation::none && options.max_length && *options.max_length % unit)
      throw Error(ErrorCode::invalid_value, concat("max_length (", *options.max_length, ") is no multiple of pad_to_multiple_of (", unit, ")"));
    length = (*length + unit - 1) / unit * unit;
  }
  const int64_t id = token_id(*token);
  const bool left = options.padding_side.value_or(padding_side) == Side::left;
  for (Encoding& encoding : encodings) {
    const auto size = static_cast<int64_t>(encoding.size());
    if (size >= *length) continue;
    const auto count = static_cast<size_t>(*length - size);
    const auto fill = [&](auto& column, const auto& value) { column.insert(left ? column.begin() : column.end(), count, value); };
    fill(encoding.ids, id);
    fill(encoding.type_ids, pad_token_type_id);
    fill(encoding.attention_mask, int64_t{0});
    fill(encoding.special_tokens_mask, int64_t{1});
    if (options.details) fill(encoding.tokens, *token);
  }
}

BatchEncoding Tokenizer::Impl::encode_slow(const std::vector<TextInput>& inputs, const EncodeOptions& options) const {
  const text::SlowTokenizer& tokenizer = options.as_target && slow_target ? *slow_target : *slow;
  const std::string* marked = nullptr;  // the text that the plain spans are of
  const auto ids_of = [&](const std::string& text, const std::optional<std::vector<std::string>>& words) {
    std::vector<int64_t> ids;
    const auto add = [&](std::string_view piece, bool is_word) {
      for (const std::string& token : tokenizer.tokenize(text::replace_invalid(piece), is_word)) ids.push_back(tokenizer.id(token));
    };
    if (!words && !options.plain_spans.empty() && text::valid_prefix(text) == text.size() && &text == marked)
      for (const std::string& token : tokenizer.tokenize_marked(text, options.plain_spans)) ids.push_back(tokenizer.id(token));
    else if (!words) add(text, false);
    else for (const std::string& word : *words) add(word, true);
    return ids;
  };
  BatchEncoding batch;
  for (const TextInput& input : inputs) {
    marked = &input.text;
    std::optional<std::vector<int64_t>> second;
    if (input.pair || input.pair_words) second = ids_of(input.pair.value_or(""), input.pair_words);
    batch.encodings.push_back(prepare(layout_of(options), ids_of(input.text, input.words), std::move(second), options));
  }
  pad_slow(batch.encodings, options);
  for (const std::string& name : model_input_names) {
    if (name != "input_ids" && name != "token_type_ids" && name != "attention_mask") continue;
    BatchEncoding::Rows rows;
    for (const Encoding& encoding : batch.encodings)
      rows.push_back(name == "input_ids" ? encoding.ids : name == "token_type_ids" ? encoding.type_ids : encoding.attention_mask);
    batch.columns.emplace_back(name, std::move(rows));
  }
  return batch;
}

std::vector<int64_t> Tokenizer::convert_tokens_to_ids(const std::vector<std::string>& tokens) const {
  std::vector<int64_t> ids;
  for (const std::string& token : tokens) ids.push_back(impl_->token_id(token));
  return ids;
}

int64_t Tokenizer::pad_token_type_id() const { return impl_->pad_token_type_id; }

std::vector<int64_t> Tokenizer::build_inputs_with_special_tokens(const std::vector<int64_t>& first, const std::vector<int64_t>* second) const {
  return impl_->build(impl_->layout, first, second);
}
std::vector<int64_t> Tokenizer::create_token_type_ids_from_sequences(const std::vector<int64_t>& first, const std::vector<int64_t>* second) const {
  const size_t count = second ? second->size() : 0;
  return impl_->types(impl_->layout, first.size(), second ? &count : nullptr);
}
std::vector<int64_t> Tokenizer::get_special_tokens_mask(const std::vector<int64_t>& first, const std::vector<int64_t>* second) const {
  if (!impl_->slow && impl_->layout.masks == SpecialLayout::Masks::none)
    throw Error(ErrorCode::invalid_value, concat(impl_->tokenizer_class, " does not say which tokens are special; ask special_tokens_mask_of"));
  return impl_->special_mask(impl_->layout, first, second);
}
std::vector<int64_t> Tokenizer::special_tokens_mask_of(const std::vector<int64_t>& ids) const {
  const std::vector<int64_t> special = all_special_ids();
  std::vector<int64_t> mask;
  for (const int64_t id : ids) mask.push_back(std::find(special.begin(), special.end(), id) != special.end());
  return mask;
}

Encoding Tokenizer::prepare_for_model(const std::vector<int64_t>& first, const std::vector<int64_t>* second, const EncodeOptions& options) const {
  std::vector<Encoding> one{impl_->prepare(impl_->layout_of(options), first, second ? std::optional(*second) : std::nullopt, options)};
  impl_->pad_slow(one, options);
  return std::move(one[0]);
}

BatchEncoding Tokenizer::pad(const BatchEncoding::Rows& rows, const EncodeOptions& options) const {
  BatchEncoding batch;
  for (const auto& ids : rows) {
    Encoding encoding;
    encoding.ids = ids;
    encoding.attention_mask.assign(ids.size(), 1);
    if (options.details)
      for (const int64_t id : ids) encoding.tokens.push_back(id_to_token(id).value_or(""));
    batch.encodings.push_back(std::move(encoding));
  }
  impl_->pad_slow(batch.encodings, options);
  BatchEncoding::Rows ids, masks;
  for (const Encoding& encoding : batch.encodings) {
    ids.push_back(encoding.ids);
    masks.push_back(encoding.attention_mask);
  }
  batch.columns.emplace_back("input_ids", std::move(ids));
  const auto& names = impl_->model_input_names;
  if (std::find(names.begin(), names.end(), "attention_mask") != names.end()) batch.columns.emplace_back("attention_mask", std::move(masks));
  return batch;
}

namespace text {

Json template_of(const SpecialLayout& layout, const Tokenizer::Impl& impl) {
  Json special = Json::object();
  const auto parts = [&](const std::string& text) {
    Json list = Json::array();
    for (const Item& item : items_of(text)) {
      if (item.name == "A" || item.name == "B") {
        list.push_back({{"Sequence", {{"id", item.name}, {"type_id", item.type}}}});
        continue;
      }
      if (item.name.starts_with('#')) {
        const int64_t id = std::stoll(std::string(item.name.substr(1)));
        const std::string token = impl.id_to_token(id).value_or(std::string(item.name));
        list.push_back({{"SpecialToken", {{"id", token}, {"type_id", item.type}}}});
        special[token] = {{"id", token}, {"ids", Json::array({static_cast<uint64_t>(id)})}, {"tokens", Json::array({token})}};
        continue;
      }
      const std::string* named = item.name.starts_with('=') ? nullptr : impl.special(item.name);
      const std::string token = named ? *named : std::string(item.name.substr(item.name.starts_with('=') ? 1 : 0));
      list.push_back({{"SpecialToken", {{"id", token}, {"type_id", item.type}}}});
      special[token] = {{"id", token}, {"ids", Json::array({static_cast<uint64_t>(std::max<int64_t>(impl.token_id(token), 0))})}, {"tokens", Json::array({token})}};
    }
    return list;
  };
  Json single = parts(layout.single), pair = parts(layout.pair);
  return {{"type", "TemplateProcessing"}, {"single", std::move(single)}, {"pair", std::move(pair)}, {"special_tokens", std::move(special)}};
}

}  // namespace text

void Tokenizer::Impl::apply_languages() {
  const auto stem = text::tokenizer_stem(tokenizer_class);
  layout = text::with_language(source_template, text::language_token(stem, src_lang));
  target_layout = text::with_language(target_template, text::language_token(stem, tgt_lang));
  if (slow) return;
  set_post_processor(text::template_of(layout, *this));
  target_post_processor = text::make_post_processor(text::template_of(*target_layout, *this), concat(name, ": post_processor"));
}

void Tokenizer::set_special_layout(const std::string& single, const std::string& pair) {
  impl_->layout.single = single;
  impl_->layout.pair = pair;
  if (!impl_->slow) impl_->set_post_processor(text::template_of(impl_->layout, *impl_));
}

const std::string& Tokenizer::src_lang() const { return impl_->src_lang; }
const std::string& Tokenizer::tgt_lang() const { return impl_->tgt_lang; }
int64_t Tokenizer::language_id(const std::string& code) const { return impl_->token_id(text::language_token(text::tokenizer_stem(impl_->tokenizer_class), code)); }
void Tokenizer::set_src_lang(const std::string& code) {
  if (!impl_->target_layout) throw Error(ErrorCode::invalid_value, concat(impl_->tokenizer_class, " has no languages"));
  impl_->src_lang = code;
  impl_->apply_languages();
}
void Tokenizer::set_tgt_lang(const std::string& code) {
  if (!impl_->target_layout) throw Error(ErrorCode::invalid_value, concat(impl_->tokenizer_class, " has no languages"));
  impl_->tgt_lang = code;
  impl_->apply_languages();
}

}  // namespace backplane
