#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "backplane/config/generation_config.h"
#include "backplane/generation/logits_processor.h"
#include "backplane/model/pretrained_model.h"

namespace backplane {

class Tokenizer;

/// What a call may set over the model's generation_config; unset members keep its value.
struct GenerateOptions {
  std::optional<int64_t> max_new_tokens = {};
  std::optional<int64_t> max_length = {};  // prompt (of the decoder) and new tokens together
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
  std::optional<int64_t> num_beams = {};
  std::optional<int64_t> num_return_sequences = {};
  std::optional<double> length_penalty = {};  // of beam search: scores are divided by length^penalty
  /// Every other setting: stands in for the model's generation_config.
  std::optional<GenerationConfig> config = {};
  /// Further processors of the scores, behind the configured penalties and before the filters of sampling.
  LogitsProcessorList logits_processors = {};
  /// Needed where the configuration has stop_strings.
  std::shared_ptr<const Tokenizer> tokenizer = {};
  /// `decoder_input_ids` that do not begin with decoder_start_token_id get it in front.
  bool prepend_decoder_start = true;
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
  Tensor sequences;           // [batch * num_return_sequences, prompt + new], int64
  int64_t prompt_length = 0;  // columns of `sequences` that were given: the decoder's, where there is an encoder
  Tensor last_logits;         // [rows, vocab], float32: of the last step, before any processing
  Tensor sequences_scores;    // of beam search: [batch * num_return_sequences], log probability over length^penalty
  bool stopped = false;       // every row met an end (or the streamer stopped it); false: length or time ran out
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

/// Greedy search, sampling, and beam search (num_beams above 1), over a preallocated cache.
/// `inputs` has `input_ids` [batch, seq] (at least one column) and whatever forward takes beside it; pad on the left,
/// with `attention_mask`, which is derived from the padding id where it is absent. A model of encoder and decoder gets
/// the encoder's arguments, encodes them once, and begins with `decoder_input_ids` or decoder_start_token_id. Finished
/// rows are filled with the padding id. Throws `invalid_value` for options outside of their range, a model that cannot
/// generate, and settings that ask for a way of generating that is not here (groups of beams, constraints, contrastive
/// search, DoLa, guidance, watermarks).
GenerateResult generate(PreTrainedModel& model, const ModelInputs& inputs, const GenerateOptions& options = {},
                        TokenStreamer* streamer = nullptr);

}  // namespace backplane
