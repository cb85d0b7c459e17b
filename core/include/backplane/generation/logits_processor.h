#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backplane/config/generation_config.h"
#include "backplane/nn/module.h"

namespace backplane {

/// Changes the scores of the next token: ids [rows, length] so far and scores [rows, vocab] (float32; logits, or log
/// probabilities in beam search) -> scores of the same shape. Must not write into its arguments.
using LogitsProcessor = std::function<Tensor(const Tensor& ids, const Tensor& scores)>;
using LogitsProcessorList = std::vector<LogitsProcessor>;

/// What the processors of one call depend on beside the settings.
struct LogitsContext {
  int64_t prompt_length = 0;      // of the decoder
  int64_t max_length = 0;         // prompt and new tokens together
  std::vector<int64_t> eos = {};  // end tokens; empty: there are none
  Tensor encoder_input_ids = {};  // [batch, seq] of an encoder or of the prompt; undefined where it reads no ids
};

/// The processors that the settings ask for, in the reference's order: penalties, bans and forced tokens; then those of
/// `own`, which a model or a caller adds; then, for sampling, temperature, top-k and the other filters. Throws
/// `invalid_value` for settings that cannot be.
LogitsProcessorList make_logits_processors(const GenerationConfig& config, const LogitsContext& context,
                                           const LogitsProcessorList& own = {});

}  // namespace backplane
