#pragma once

#include <cstdint>

namespace backplane::nn {

/// Caps what modules made in this thread may allocate for parameters while it lives, so that sizes of a hostile
/// config.json end in an error before they end the process. The loader sets it from what the weight files hold.
class ParameterBudget {
 public:
  ParameterBudget(int64_t elements, int64_t tensors);
  ~ParameterBudget();
  ParameterBudget(const ParameterBudget&) = delete;
  ParameterBudget& operator=(const ParameterBudget&) = delete;

  /// Takes a tensor of `elements` from the innermost budget of the thread, if there is one. Throws `bad_config`.
  static void take(int64_t elements);

 private:
  int64_t elements_, tensors_;
  ParameterBudget* outer_;
};

}  // namespace backplane::nn
