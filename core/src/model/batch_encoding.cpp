#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/model/named_values.h"
#include "backplane/text/tokenizer.h"

namespace backplane {

ModelInputs BatchEncoding::tensors() const {
  ModelInputs inputs;
  for (const auto& [name, rows] : columns) {
    const auto width = rows.empty() ? 0 : static_cast<int64_t>(rows.front().size());
    Tensor column = at::empty({static_cast<int64_t>(rows.size()), width}, at::kLong);
    auto* to = column.mutable_data_ptr<int64_t>();
    for (const auto& row : rows) {
      if (static_cast<int64_t>(row.size()) != width) {
        throw Error(ErrorCode::invalid_value, concat("the rows of ", name, " have ", width, " and ", row.size(),
                                                     " tokens; pad the batch (.padding = Padding::longest)"));
      }
      to = std::copy(row.begin(), row.end(), to);
    }
    inputs.set(name, column);
  }
  return inputs;
}

}  // namespace backplane
