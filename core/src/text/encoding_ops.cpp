#include "text/encoding_ops.h"

#include <algorithm>

#include "backplane/base/strings.h"

namespace backplane::text {
namespace {

template <class T>
std::vector<T> slice(const std::vector<T>& values, size_t begin, size_t end) {
  if (values.empty()) return {};
  return {values.begin() + static_cast<ptrdiff_t>(begin), values.begin() + static_cast<ptrdiff_t>(end)};
}

template <class T>
void extend(std::vector<T>& values, const std::vector<T>& more) {
  values.insert(values.end(), more.begin(), more.end());
}

template <class T>
void fill(std::vector<T>& values, size_t count, const T& value, Side side) {
  values.insert(side == Side::left ? values.begin() : values.end(), count, value);
}

Encoding part(const Encoding& e, size_t begin, size_t end) {
  Encoding out;
  out.ids = slice(e.ids, begin, end);
  out.type_ids = slice(e.type_ids, begin, end);
  out.tokens = slice(e.tokens, begin, end);
  out.offsets = slice(e.offsets, begin, end);
  out.word_ids = slice(e.word_ids, begin, end);
  out.attention_mask = slice(e.attention_mask, begin, end);
  out.special_tokens_mask = slice(e.special_tokens_mask, begin, end);
  return out;
}

}  // namespace

void truncate(Encoding& encoding, uint64_t max_length, uint64_t stride, Side direction) {
  const size_t size = encoding.size();
  if (max_length >= size) return;
  if (max_length == 0) {
    Encoding whole = std::move(encoding);
    encoding = {};
    encoding.overflowing.push_back(std::move(whole));
    return;
  }
  if (stride >= max_length)
    throw Error(ErrorCode::invalid_value, concat("stride (", stride, ") must be less than the ", max_length, " tokens that truncation leaves"));
  const uint64_t step = max_length - stride;
  std::vector<std::pair<size_t, size_t>> ranges;
  if (direction == Side::right) {
    for (size_t begin = 0;; begin += step) {
      ranges.emplace_back(begin, std::min<size_t>(begin + max_length, size));
      if (ranges.back().second == size) break;
    }
  } else {
    for (size_t end = size;; end -= step) {
      ranges.emplace_back(end > max_length ? end - max_length : 0, end);
      if (ranges.back().first == 0) break;
    }
  }
  Encoding out = part(encoding, ranges[0].first, ranges[0].second);
  for (size_t i = 1; i < ranges.size(); ++i) out.overflowing.push_back(part(encoding, ranges[i].first, ranges[i].second));
  encoding = std::move(out);
}

void merge_with(Encoding& encoding, const Encoding& other) {
  std::vector<Encoding> overflowing;
  const auto join = [&](const Encoding& left, const Encoding& right) {
    Encoding joined = left;
    merge_with(joined, right);
    overflowing.push_back(std::move(joined));
  };
  for (const Encoding& mine : encoding.overflowing) {
    join(mine, other);
    for (const Encoding& theirs : other.overflowing) join(mine, theirs);
  }
  for (const Encoding& theirs : other.overflowing) join(encoding, theirs);

  const auto shift = static_cast<int64_t>(encoding.size());
  for (const auto& range : other.sequence_ranges) {
    std::erase_if(encoding.sequence_ranges, [&](const auto& old) { return old.sequence == range.sequence; });
    encoding.sequence_ranges.push_back({range.sequence, shift + range.begin, shift + range.end});
  }
  extend(encoding.ids, other.ids);
  extend(encoding.type_ids, other.type_ids);
  extend(encoding.tokens, other.tokens);
  extend(encoding.offsets, other.offsets);
  extend(encoding.word_ids, other.word_ids);
  extend(encoding.attention_mask, other.attention_mask);
  extend(encoding.special_tokens_mask, other.special_tokens_mask);
  encoding.overflowing = std::move(overflowing);
}

void pad(Encoding& encoding, uint64_t length, const PaddingSettings& settings, bool details) {
  for (Encoding& more : encoding.overflowing) pad(more, length, settings, details);
  if (encoding.size() >= length) return;
  const size_t count = length - encoding.size();
  const Side side = settings.direction;
  fill(encoding.ids, count, settings.id, side);
  fill(encoding.type_ids, count, settings.type_id, side);
  fill<int64_t>(encoding.attention_mask, count, 0, side);
  fill<int64_t>(encoding.special_tokens_mask, count, 1, side);
  if (details) {
    fill(encoding.tokens, count, settings.token, side);
    fill<Encoding::Offsets>(encoding.offsets, count, {0, 0}, side);
    fill<int64_t>(encoding.word_ids, count, -1, side);
  }
  if (side == Side::left) {
    for (auto& range : encoding.sequence_ranges) {
      range.begin += static_cast<int64_t>(count);
      range.end += static_cast<int64_t>(count);
    }
  }
}

void truncate_pair(Encoding& first, Encoding* second, const TruncationSettings& settings) {
  const uint64_t most = settings.max_length;
  if (most == 0) {
    truncate(first, 0, settings.stride, settings.direction);
    if (second) truncate(*second, 0, settings.stride, settings.direction);
    return;
  }
  const uint64_t total = first.size() + (second ? second->size() : 0);
  if (total <= most) return;
  const uint64_t excess = total - most;
  if (settings.strategy == Truncation::longest_first) {
    if (!second) return truncate(first, most, settings.stride, settings.direction);
    uint64_t shorter = std::min(first.size(), second->size());
    uint64_t longer = shorter > most ? shorter : std::max(shorter, most - shorter);
    if (shorter + longer > most) {
      shorter = most / 2;
      longer = shorter + most % 2;
    }
    const bool swapped = first.size() > second->size();
    truncate(first, swapped ? longer : shorter, settings.stride, settings.direction);
    truncate(*second, swapped ? shorter : longer, settings.stride, settings.direction);
    return;
  }
  Encoding* target = settings.strategy == Truncation::only_first ? &first : second;
  if (!target) throw Error(ErrorCode::invalid_value, "truncation only_second needs a second text");
  if (target->size() <= excess)
    throw Error(ErrorCode::invalid_value, concat("the text to truncate has ", target->size(), " tokens, ", excess, " would have to go; max_length is too small"));
  truncate(*target, target->size() - excess, settings.stride, settings.direction);
}

void pad_all(std::vector<Encoding*> encodings, const PaddingSettings& settings, bool details) {
  uint64_t length = settings.length.value_or(0);
  if (!settings.length)
    for (const Encoding* encoding : encodings) length = std::max<uint64_t>(length, encoding->size());
  if (settings.multiple_of && length % settings.multiple_of) length += settings.multiple_of - length % settings.multiple_of;
  for (Encoding* encoding : encodings) pad(*encoding, length, settings, details);
}

void set_sequence(Encoding& encoding, int64_t sequence) {
  std::erase_if(encoding.sequence_ranges, [&](const auto& old) { return old.sequence == sequence; });
  encoding.sequence_ranges.push_back({sequence, 0, static_cast<int64_t>(encoding.size())});
}

void finish(Encoding& encoding) {
  encoding.sequence_ids.assign(encoding.size(), encoding.sequence_ranges.empty() ? 0 : -1);
  // Rust asks for as many sequences as there are ranges; one that has no range is taken for the whole.
  const auto count = static_cast<int64_t>(encoding.sequence_ranges.size());
  for (int64_t sequence = 0; sequence < count; ++sequence) {
    const auto found = std::find_if(encoding.sequence_ranges.begin(), encoding.sequence_ranges.end(),
                                    [&](const auto& range) { return range.sequence == sequence; });
    const int64_t begin = found == encoding.sequence_ranges.end() ? 0 : found->begin;
    const int64_t end = found == encoding.sequence_ranges.end() ? static_cast<int64_t>(encoding.size()) : found->end;
    std::fill(encoding.sequence_ids.begin() + begin, encoding.sequence_ids.begin() + end, sequence);
  }
  for (Encoding& more : encoding.overflowing) finish(more);
}

}  // namespace backplane::text
