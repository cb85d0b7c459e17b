#pragma once

#include "backplane/text/tokenizer.h"

namespace backplane::text {

// Truncation and padding of one tokenizer.json or call.
struct TruncationSettings {
  uint64_t max_length = 512, stride = 0;
  Truncation strategy = Truncation::longest_first;
  Side direction = Side::right;
};
struct PaddingSettings {
  std::optional<uint64_t> length;  // absent: the longest of the batch
  Side direction = Side::right;
  uint64_t multiple_of = 0;
  int64_t id = 0, type_id = 0;
  std::string token = "[PAD]";
};

// As the members of Rust's Encoding of these names.
void truncate(Encoding& encoding, uint64_t max_length, uint64_t stride, Side direction);
void merge_with(Encoding& encoding, const Encoding& other);
void pad(Encoding& encoding, uint64_t length, const PaddingSettings& settings, bool details);
void truncate_pair(Encoding& first, Encoding* second, const TruncationSettings& settings);
void pad_all(std::vector<Encoding*> encodings, const PaddingSettings& settings, bool details);

// Sets the sequence of all tokens.
void set_sequence(Encoding& encoding, int64_t sequence);
// Fills `sequence_ids`, here and in the overflowing parts.
void finish(Encoding& encoding);

}  // namespace backplane::text
