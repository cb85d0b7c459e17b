#include "backplane/model/pretrained_model.h"

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

ModelOutput PreTrainedModel::forward(const ModelInputs& inputs) {
  const auto known = arguments();
  for (const auto& [name, value] : inputs) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Error(ErrorCode::unknown_argument, concat("forward does not take '", name, "'; it takes ",
                                                      join(std::vector<std::string>(known.begin(), known.end()))));
    }
  }
  return compute(inputs);
}

at::ScalarType PreTrainedModel::dtype() const {
  for (const auto& parameter : parameters()) {
    if (parameter.is_floating_point()) return parameter.scalar_type();
  }
  return at::kFloat;
}

}  // namespace backplane
