#pragma once

#include <ATen/ATen.h>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/nn/budget.h"

namespace backplane::nn {

/// A new parameter, for register_parameter: its size came from a file, and no allocation may follow it blindly. Throws
/// `bad_config` for a shape that no tensor has, or that the budget of the thread does not cover.
inline at::Tensor uninitialised(at::IntArrayRef shape) {
  int64_t elements = 1;
  for (int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(elements, size, &elements))
      throw Error(ErrorCode::bad_config, concat("a parameter would have the shape ", shape, "; no tensor can have it"));
  }
  ParameterBudget::take(elements);
  return at::empty(shape);
}

}  // namespace backplane::nn
