#include "backplane/model/composite.h"

#include "backplane/base/strings.h"

namespace backplane {

ModelInputs for_part(const ModelInputs& inputs, std::span<const std::string_view> names,
                     const PretrainedConfig& config) {
  ModelInputs chosen = inputs.select(names);
  chosen.set("output_hidden_states", inputs.flag("output_hidden_states", config.output_hidden_states));
  chosen.set("output_attentions", inputs.flag("output_attentions", config.output_attentions));
  return chosen;
}

ModelInputs for_language_model(const ModelInputs& inputs, const PreTrainedModel& language_model,
                               const PretrainedConfig& config, const Tensor& inputs_embeds) {
  ModelInputs chosen = for_part(inputs, language_model.arguments(), config);
  chosen.set("input_ids", {});
  chosen.set("inputs_embeds", inputs_embeds);
  return chosen;
}

void set_part(ModelOutput& output, const std::string& name, const ModelOutput& part) {
  for (const auto& [field, value] : part) output.set(concat(name, ".", field), value);
}

std::vector<std::string_view> joined(std::span<const std::string_view> names,
                                     std::initializer_list<std::string_view> more) {
  std::vector<std::string_view> all(names.begin(), names.end());
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace backplane
