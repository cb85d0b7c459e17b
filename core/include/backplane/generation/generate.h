#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "backplane/config/generation_config.h"
#include "backplane/model/pretrained_model.h"

namespace backplane {

/// What a call may set over the model's generation_config; unset members keep its value.
struct GenerateOptions {
  std::optional<int64_t> max_new_tokens = {};
  std::optional<int64_t> max_length = {};  // prompt and new tokens together
  std::optional<int64_t> min_new_tokens = {};
  std::optional<bool> do_sample = {};
  std::optional<double> temperature = {};
  std::optional<int64_t> top_k = {};
  std::optional<double> top_p = {};
  std::optional<double> min_p = {};
  std::optional<double> repetition_penalty = {};
  std::optional<std::vector<int64_t>> eos_token_id = {};  // empty: never ends early
  std::optional<int64_t> pad_token_id = {};
  std::optional<uint64_t> seed = {};  // of sampling; unset: the process's generator
  bool use_cache = true;
};

/// Receives tokens while they are made. Called in the thread of `generate`.
class TokenStreamer {
 public:
  virtual ~TokenStreamer() = default;
  /// One id for each row of the batch, [batch]; false stops the generation.
  virtual bool put(const std::vector<int64_t>& ids) = 0;
  virtual void end() {}
};

/// A streamer from a function.
class CallbackStreamer : public TokenStreamer {
 public:
  explicit CallbackStreamer(std::function<bool(const std::vector<int64_t>&)> callback)
      : callback_(std::move(callback)) {}
  bool put(const std::vector<int64_t>& ids) override { return callback_(ids); }

 private:
  std::function<bool(const std::vector<int64_t>&)> callback_;
};

struct GenerateResult {
  Tensor sequences;      // [batch, prompt + new], int64
  Tensor last_logits;    // [batch, vocab], float32: of the last step, before any processing
  bool stopped = false;  // every row met an end token (or the streamer stopped it); false: the length ran out
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Greedy search and sampling over a preallocated cache. `inputs` has `input_ids` [batch, seq] (at least one column)
/// and whatever forward takes beside it; pad on the left, with `attention_mask`. Throws `invalid_value` for options
/// outside of their range, or a model that cannot generate.
GenerateResult generate(PreTrainedModel& model, const ModelInputs& inputs, const GenerateOptions& options = {},
                        TokenStreamer* streamer = nullptr);

}  // namespace backplane
