#include "backplane/model/encoder_heads.h"

namespace backplane {

ModelInputs flatten_choices(const ModelInputs& inputs) {
  ModelInputs flat;
  for (const auto& [name, value] : inputs) {
    const auto* tensor = std::get_if<Tensor>(&value);
    flat.set(name, tensor && name != "head_mask" ? Argument(tensor->flatten(0, 1)) : value);
  }
  return flat;
}

Tensor unflatten_choices(const Tensor& scores, const ModelInputs& inputs) {
  const Tensor ids = inputs.tensor("input_ids");
  return scores.view({-1, (ids.defined() ? ids : inputs["inputs_embeds"]).size(1)});
}

}  // namespace backplane
