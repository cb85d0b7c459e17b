#include "backplane/model/saving.h"

#include <algorithm>
#include <boost/filesystem.hpp>
#include <unordered_set>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/checkpoint/checkpoint.h"
#include "backplane/config/config_json.h"
#include "backplane/config/generation_config_json.h"

namespace backplane {
namespace {

// What old configurations say about generation: it is saved in generation_config.json alone (AC-118).
constexpr std::string_view kGenerationKeys[] = {"max_length",
                                                "min_length",
                                                "do_sample",
                                                "early_stopping",
                                                "num_beams",
                                                "num_beam_groups",
                                                "diversity_penalty",
                                                "temperature",
                                                "top_k",
                                                "top_p",
                                                "typical_p",
                                                "repetition_penalty",
                                                "length_penalty",
                                                "no_repeat_ngram_size",
                                                "encoder_no_repeat_ngram_size",
                                                "bad_words_ids",
                                                "num_return_sequences",
                                                "output_scores",
                                                "return_dict_in_generate",
                                                "forced_bos_token_id",
                                                "forced_eos_token_id",
                                                "remove_invalid_values",
                                                "exponential_decay_length_penalty",
                                                "suppress_tokens",
                                                "begin_suppress_tokens"};

std::string class_name(const PreTrainedModel& model) {
  const std::string name = model.name();
  const size_t colon = name.rfind(':');
  return colon == std::string::npos ? name : name.substr(colon + 1);
}

// AC-99 the other way round: a model that reads older names writes them, too.
std::string stored_name(std::string name, const CheckpointRules& rules) {
  for (const auto& [pattern, by] : rules.renames) {
    if (by.empty() || name.find(by) == std::string::npos) continue;
    std::string older = pattern.substr(pattern.find_first_not_of('^'));
    if (const size_t group = older.find('('); group != std::string::npos)
      older.erase(group, older.rfind(')') + 1 - group);
    std::erase(older, '\\');
    for (size_t at = 0; (at = name.find(by, at)) != std::string::npos; at += older.size()) {
      name.replace(at, by.size(), older);
    }
    break;
  }
  return name;
}

}  // namespace

void save_pretrained(const PreTrainedModel& model, const std::string& folder, const SaveOptions& options) {
  if (file_exists(folder) && !folder_exists(folder))
    throw Error(ErrorCode::io, concat("'", folder, "' is a file; expected a folder to save into"));
  boost::system::error_code error;
  boost::filesystem::create_directories(folder, error);
  if (error) throw Error(ErrorCode::io, concat("cannot make the folder '", folder, "': ", error.message()));

  const auto config = model.config().clone();
  config->architectures = {class_name(model)};
  config->torch_dtype = std::string(torch_dtype_name(dtype_of(model.dtype())));
  Json written = parse_json(config_to_json_string(*config), "config");
  if (model.generation_config) {
    for (const auto key : kGenerationKeys) {
      if (auto found = written.find(std::string(key)); found != written.end()) *found = nullptr;
    }
    write_file(folder + "/generation_config.json", generation_config_to_json_string(*model.generation_config));
  }
  write_file(folder + "/config.json", python_dumps(written, 2, true, true) + "\n");

  const CheckpointRules rules = model.checkpoint_rules();
  NamedTensors tensors;
  std::unordered_set<const void*> stored;
  for (const auto& named : {model.named_parameters(), model.named_buffers()}) {
    for (const auto& item : named) {
      if (stored.insert(item.value().unsafeGetTensorImpl()).second)
        tensors.emplace_back(stored_name(item.key(), rules), item.value());
    }
  }
  save_checkpoint(folder, tensors, options);
}

}  // namespace backplane
