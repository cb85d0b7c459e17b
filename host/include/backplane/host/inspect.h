#pragma once

#include <functional>
#include <optional>
#include <string>

#include "backplane/config/value.h"
#include "backplane/host/pretrained_options.h"

namespace backplane {

struct InspectRequest {
  std::string model;
  /// "AutoModelForCausalLM"; unset: all auto classes, by the table.
  std::optional<std::string> auto_name;
  /// Build the object from its files.
  bool load = false;
  PretrainedOptions options;
};

/// Builds the model of a request and adds `loading`, `dtype`, `attn_implementation`, `generation_config` and the final
/// `config`. In the library that has tensors.
using InspectModelLoader = std::function<void(const InspectRequest& request, Value::Object& result)>;

/// What `auto_name`.from_pretrained(model, options) would do: the object that `backplane inspect --json` prints. A failure is
/// in it as `error`, beside everything that was known by then. Reads JSON files only, unless `load`. Without
/// `load_model`, loading a model fails with `missing_dependency`. Thread-safe.
Value::Object inspect(const InspectRequest& request, const InspectModelLoader& load_model = nullptr);

}  // namespace backplane
