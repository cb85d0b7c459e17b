#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backplane/nn/module.h"
#include "backplane/text/tokenizer.h"

namespace backplane {

/// When a row of ids is complete.
struct StoppingCriteria {
  std::vector<int64_t> eos;
  int64_t max_length = 0;
  std::vector<std::string> stop_strings;
  std::shared_ptr<const Tokenizer> tokenizer;  // of the stop strings
  std::optional<std::chrono::steady_clock::time_point> deadline;

  /// sequences [rows, length] -> bool [rows]: the last id is an end, or completes a stop string.
  Tensor ended(const Tensor& sequences) const;
  /// Nothing may follow: the length or the time is used up.
  bool exhausted(int64_t length) const;
};

}  // namespace backplane
