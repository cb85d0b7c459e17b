#include "backplane/model/vision.h"

namespace backplane {

ModelOutput classifier_output(const Tensor& logits, const ModelInputs& inputs, const PretrainedConfig& config,
                              const ModelOutput& base) {
  const Tensor labels = inputs.tensor("labels");
  ModelOutput output;
  if (labels.defined()) output.set("loss", classification_loss(logits, labels, config));
  output.set("logits", logits);
  output.pass_on(base);
  return output;
}

}  // namespace backplane
