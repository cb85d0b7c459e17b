#pragma once

#include <vector>

#include "backplane/model/backbone.h"
#include "backplane/model/pretrained_model.h"
#include "backplane/nn/ops.h"
#include "backplane/nn/vision.h"

namespace backplane {

/// What one call of forward keeps on demand: hidden states and attentions.
class Trace {
 public:
  /// By the arguments output_hidden_states and output_attentions, else by the config.
  Trace(const ModelInputs& inputs, const PretrainedConfig& config)
      : keeps_hidden_states(inputs.flag("output_hidden_states", config.output_hidden_states)),
        keeps_attentions(inputs.flag("output_attentions", config.output_attentions)) {}

  /// Where hidden states are put; nullptr where none are kept.
  std::vector<Tensor>* states() { return keeps_hidden_states ? &hidden_states : nullptr; }
  void hidden_state(const Tensor& x) {
    if (keeps_hidden_states) hidden_states.push_back(x);
  }
  /// Where attention() puts the next probabilities: valid until the next call; nullptr where none are kept.
  Tensor* next_attention() { return keeps_attentions ? &attentions.emplace_back() : nullptr; }
  /// Sets hidden_states and attentions.
  void write(ModelOutput& output) const {
    if (keeps_hidden_states) output.set("hidden_states", hidden_states);
    output.set("attentions", attentions);
  }

  bool keeps_hidden_states, keeps_attentions;
  std::vector<Tensor> hidden_states, attentions;
};

/// What a classification head returns: loss where there are `labels`, logits, and what `base` hands through.
ModelOutput classifier_output(const Tensor& logits, const ModelInputs& inputs, const PretrainedConfig& config,
                              const ModelOutput& base);

/// What a backbone returns: `feature_maps`, those of `states` (one a stage) that the config asks for, and what `trace`
/// kept. `norm(stage, state)` makes a state a feature map.
template <class Norm>
ModelOutput backbone_output(const BackboneConfig& config, const std::vector<Tensor>& states, Trace trace, Norm norm) {
  std::vector<Tensor> maps;
  for (size_t stage : config.out_stages()) maps.push_back(norm(stage, states.at(stage)));
  if (trace.keeps_hidden_states) trace.hidden_states = states;
  ModelOutput output;
  output.set("feature_maps", maps);
  trace.write(output);
  return output;
}

}  // namespace backplane
