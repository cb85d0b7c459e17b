#include "backplane/nn/budget.h"

#include "backplane/base/error.h"

namespace backplane::nn {
namespace {
thread_local ParameterBudget* innermost = nullptr;
}

ParameterBudget::ParameterBudget(int64_t elements, int64_t tensors)
    : elements_(elements), tensors_(tensors), outer_(innermost) {
  innermost = this;
}

ParameterBudget::~ParameterBudget() { innermost = outer_; }

void ParameterBudget::take(int64_t elements) {
  if (!innermost) return;
  innermost->elements_ -= elements;
  innermost->tensors_ -= 1;
  if (innermost->elements_ < 0 || innermost->tensors_ < 0) {
    throw Error(ErrorCode::bad_config,
                "config.json describes a model several times larger than its weight files; check its sizes and number "
                "of layers");
  }
}

}  // namespace backplane::nn
