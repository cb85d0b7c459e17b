#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/type_name.h"
#include "backplane/config/fields.h"
#include "backplane/config/value.h"

namespace backplane {

enum class AttnImplementation { eager, sdpa };

/// A model's config.json as a struct: the members are its keys, with the reference's defaults. Derived structs add their
/// own keys, list them in `fields`, and set other defaults of inherited keys in their constructor. Unknown keys of a file
/// are kept in `extra` and written back. Copies share sub-configurations held by pointer; `clone` does not.
/// Plain data: one thread writes, or many read.
class PretrainedConfig {
 public:
  virtual ~PretrainedConfig() = default;

  /// Walks every key. Derived structs call the base's first.
  virtual void fields(FieldVisitor& field);
  /// Derives what the reference's constructor derives from other keys, and checks what it checks. Runs after reading and
  /// again after overriding. Throws `bad_config` naming key and value; the reader puts the file's name in front.
  virtual void validate() {}

  /// The type that the class writes ("bert"; the registry may list it under others too), and the struct's name.
  std::string model_type_name;
  std::string class_name;

  bool return_dict = true;
  bool output_hidden_states = false;
  bool output_attentions = false;
  bool torchscript = false;
  std::optional<std::string> torch_dtype;  // "float32", …; after an override the text given (AC-13)
  bool use_bfloat16 = false;
  bool tf_legacy_loss = false;
  Value pruned_heads = Value::Object();
  bool tie_word_embeddings = true;
  int64_t chunk_size_feed_forward = 0;
  bool is_encoder_decoder = false;
  bool is_decoder = false;
  std::optional<int64_t> cross_attention_hidden_size;
  bool add_cross_attention = false;
  bool tie_encoder_decoder = false;

  /// What old configurations say about generation, as it stands in the file; GenerationConfig::from_model_config reads it.
  Value max_length = 20;
  Value min_length = 0;
  Value do_sample = false;
  Value early_stopping = false;
  Value num_beams = 1;
  Value num_beam_groups = 1;
  Value diversity_penalty = 0.0;
  Value temperature = 1.0;
  Value top_k = 50;
  Value top_p = 1.0;
  Value typical_p = 1.0;
  Value repetition_penalty = 1.0;
  Value length_penalty = 1.0;
  Value no_repeat_ngram_size = 0;
  Value encoder_no_repeat_ngram_size = 0;
  Value bad_words_ids;
  Value num_return_sequences = 1;
  Value output_scores = false;
  Value return_dict_in_generate = false;
  Value forced_bos_token_id;
  Value forced_eos_token_id;
  Value remove_invalid_values = false;
  Value exponential_decay_length_penalty;
  Value suppress_tokens;
  Value begin_suppress_tokens;

  std::optional<std::vector<std::string>> architectures;
  std::optional<std::string> finetuning_task;
  std::map<int64_t, Value> id2label = {{0, "LABEL_0"}, {1, "LABEL_1"}};
  Value label2id = Value::Object{{"LABEL_0", 0}, {"LABEL_1", 1}};
  int64_t num_labels() const { return static_cast<int64_t>(id2label.size()); }
  /// Renames all labels LABEL_i, unless there are `count` already (AC-17). Throws `bad_config` for a count below 0,
  /// `limit_exceeded` for one that no model has.
  void set_num_labels(int64_t count);
  /// The label's text; "LABEL_<id>" where the map lacks it.
  std::string label(int64_t id) const;
  std::optional<std::string> tokenizer_class;
  std::optional<std::string> prefix;
  std::optional<int64_t> bos_token_id;
  std::optional<int64_t> pad_token_id;
  Value eos_token_id;  // a number or a list
  std::optional<int64_t> sep_token_id;
  std::optional<int64_t> decoder_start_token_id;
  Value task_specific_params;
  std::optional<std::string> problem_type;
  std::optional<std::string> transformers_version;  // of the file

  /// What the loader settled on, and what was asked for: the keyword, or the file's `_attn_implementation` (AC-20).
  AttnImplementation attn_implementation = AttnImplementation::sdpa;
  std::optional<std::string> attn_implementation_asked;
  /// AC-21.
  std::string name_or_path;
  std::optional<std::string> commit_hash;

  /// Keys of the file that nobody knows, in its order.
  Value::Object extra;
  /// The key among those, or nullptr.
  const Value* find_extra(std::string_view key) const;

  std::shared_ptr<PretrainedConfig> clone() const;
  /// A copy of the configuration inside under `key`; nullptr where there is none.
  std::shared_ptr<PretrainedConfig> clone_part(std::string_view key) const;
  /// The configuration inside under `key`; nullptr where there is none.
  PretrainedConfig* part(std::string_view key);
  /// Sets attn_implementation here and in all configurations inside.
  void set_attn_implementation(AttnImplementation implementation);
  /// A new one of this class with its defaults.
  std::shared_ptr<PretrainedConfig> make_default() const;
  /// Names the configurations inside; `make_config` has done it.
  void name_parts();

 private:
  template <class Config>
  friend void name_config(Config& config);
  std::shared_ptr<PretrainedConfig> (*make_)(const PretrainedConfig* source) = nullptr;
};

/// Fills in what a configuration's class alone knows: its names, and how to make another one.
template <class Config>
void name_config(Config& config) {
  PretrainedConfig& base = config;
  if (base.make_) return;
  base.model_type_name = Config::model_type;
  base.class_name = type_name<Config>();
  base.make_ = [](const PretrainedConfig* source) -> std::shared_ptr<PretrainedConfig> {
    auto made = source ? std::make_shared<Config>(static_cast<const Config&>(*source)) : std::make_shared<Config>();
    name_config(*made);
    made->name_parts();
    return made;
  };
}

/// A configuration with the defaults of its type.
template <class Config>
std::shared_ptr<Config> make_config() {
  auto config = std::make_shared<Config>();
  name_config(*config);
  config->name_parts();
  return config;
}

/// A configuration by model_type, through the registry; loads the plugin if need be. Throws `unknown_model_type` or
/// `plugin_not_installed`. Thread-safe.
std::shared_ptr<PretrainedConfig> make_config(std::string_view model_type);

/// How `make_config` finds classes; the registry sets it.
using ConfigMaker = std::shared_ptr<PretrainedConfig> (*)(std::string_view model_type);
void set_config_maker(ConfigMaker maker);

}  // namespace backplane
