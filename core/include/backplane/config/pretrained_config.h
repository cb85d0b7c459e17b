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
/// own keys and list them in `fields`. Unknown keys of a file are kept in `extra` and written back.
/// Plain data: one thread writes, or many read.
class PretrainedConfig {
 public:
  virtual ~PretrainedConfig() = default;

  /// Walks every key. Derived structs call the base's first.
  virtual void fields(FieldVisitor& field);
  /// Checks what the reference checks after construction; throws `bad_config` or `invalid_value` naming key and value.
  virtual void validate() {}

  /// The type under which the configuration was registered ("bert"), and the struct's name ("BertConfig").
  std::string model_type_name;
  std::string class_name;

  std::vector<std::string> architectures;
  std::optional<std::string> torch_dtype;
  bool return_dict = true;
  bool output_hidden_states = false;
  bool output_attentions = false;
  bool tie_word_embeddings = true;
  bool is_encoder_decoder = false;
  bool is_decoder = false;
  bool add_cross_attention = false;
  std::optional<int64_t> cross_attention_hidden_size;
  int64_t chunk_size_feed_forward = 0;
  std::optional<std::string> problem_type;
  std::map<int64_t, std::string> id2label = {{0, "LABEL_0"}, {1, "LABEL_1"}};
  std::vector<std::pair<std::string, int64_t>> label2id = {{"LABEL_0", 0}, {"LABEL_1", 1}};
  int64_t num_labels() const { return static_cast<int64_t>(id2label.size()); }
  std::optional<int64_t> bos_token_id;
  std::optional<int64_t> pad_token_id;
  Value eos_token_id;  // a number or a list
  std::optional<int64_t> sep_token_id;
  std::optional<int64_t> decoder_start_token_id;
  std::optional<std::string> tokenizer_class;

  /// Chosen by the loader, never by config.json (AC-20).
  AttnImplementation attn_implementation = AttnImplementation::sdpa;
  /// AC-21.
  std::string name_or_path;
  std::optional<std::string> commit_hash;

  /// Keys of the file that nobody knows, in its order.
  Value::Object extra;
};

/// A configuration with the defaults of its type, and its names filled in.
template <class Config>
std::shared_ptr<Config> make_config() {
  auto config = std::make_shared<Config>();
  config->model_type_name = Config::model_type;
  config->class_name = type_name<Config>();
  return config;
}

}  // namespace backplane
