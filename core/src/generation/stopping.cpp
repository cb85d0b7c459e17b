#include "generation/stopping.h"

#include <algorithm>

namespace backplane {
namespace {

// Whether the last id added the end of a stop string. Only the tail is decoded: a token has at least one byte of text,
// but for special tokens, hence the margin.
bool completes(const std::string& stop, const int64_t* ids, int64_t length, const Tokenizer& tokenizer) {
  constexpr int64_t kMargin = 8;
  const int64_t count = std::min(length, static_cast<int64_t>(stop.size()) + kMargin);
  std::vector<int64_t> tail(ids + length - count, ids + length);
  const std::string after = tokenizer.decode(tail);
  tail.pop_back();
  const std::string before = tokenizer.decode(tail);
  const size_t from = before.size() > stop.size() ? before.size() - stop.size() : 0;
  for (size_t at = after.find(stop, from); at != std::string::npos; at = after.find(stop, at + 1)) {
    if (at + stop.size() > before.size()) return true;
  }
  return false;
}

}  // namespace

Tensor StoppingCriteria::ended(const Tensor& sequences) const {
  const int64_t rows = sequences.size(0), length = sequences.size(1);
  Tensor done = at::zeros({rows}, at::kBool);
  if (length == 0) return done;
  const Tensor last = sequences.select(1, length - 1);
  for (const int64_t id : eos) done.logical_or_(last == id);
  if (stop_strings.empty()) return done;
  const Tensor ids = sequences.contiguous();
  for (int64_t row = 0; row < rows; ++row) {
    const bool hit = std::any_of(stop_strings.begin(), stop_strings.end(), [&](const std::string& stop) {
      return completes(stop, ids.const_data_ptr<int64_t>() + row * length, length, *tokenizer);
    });
    if (hit) done[row] = true;
  }
  return done;
}

bool StoppingCriteria::exhausted(int64_t length) const {
  return length >= max_length || (deadline && std::chrono::steady_clock::now() > *deadline);
}

}  // namespace backplane
