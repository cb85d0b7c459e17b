#pragma once

#include <ATen/core/Generator.h>

#include "backplane/generation/generate.h"
#include "generation/stepper.h"
#include "generation/stopping.h"

namespace backplane {

/// The settings of one call that searching needs, checked.
struct SearchSettings {
  bool do_sample = false;
  int64_t num_beams = 1;
  int64_t num_return_sequences = 1;
  double length_penalty = 1;
  bool early_stopping = false;  // end as soon as every sequence has num_beams complete ones
  bool until_hopeless = false;  // early_stopping "never"
  std::optional<int64_t> pad = {};
  std::optional<at::Generator> generator = {};
};

/// Beam search from the prompt [batch, seq] as the reference does it; sequences, their scores and last_logits of the
/// result are filled.
GenerateResult beam_search(Stepper& stepper, const Tensor& prompt, const SearchSettings& settings,
                           const LogitsProcessorList& processors, const StoppingCriteria& stopping);

}  // namespace backplane
