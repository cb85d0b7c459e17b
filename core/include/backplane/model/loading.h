#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backplane/checkpoint/checkpoint.h"
#include "backplane/model/pretrained_model.h"

namespace backplane {

/// What loading found (AC-101 to AC-104): names of the whole model where a base checkpoint went into a class with a
/// head, names without the prefix the other way round. Sorted.
struct LoadingInfo {
  std::vector<std::string> missing_keys;
  std::vector<std::string> unexpected_keys;
  std::vector<std::string> mismatched_keys;
};

struct LoadOptions {
  std::optional<at::ScalarType> dtype;  // of all floating parameters; unset: float32 (AC-110)
  bool ignore_mismatched_sizes = false;
  std::string origin;  // for messages: the folder or repository
};

/// Puts the tensors of a checkpoint behind the model's parameters and buffers. A tensor that has the dtype wanted is
/// not copied: the parameter becomes a view of the mapped file. What the checkpoint lacks is initialised and warned of.
/// Throws `shape_mismatch`, `bad_checkpoint`.
LoadingInfo load_weights(PreTrainedModel& model, const Checkpoint& checkpoint, const LoadOptions& options = {});

/// Fills every parameter as a model that is to be trained starts: norms 1, biases 0, weights N(0, 0.02).
void initialise_weights(PreTrainedModel& model, at::ScalarType dtype = at::kFloat);

}  // namespace backplane
