#include "backplane/config/pretrained_config.h"

#include <atomic>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "field_visitors.h"

namespace backplane {
namespace {

constexpr int64_t kMostLabels = 1'000'000;
std::atomic<ConfigMaker> config_maker{nullptr};

}  // namespace

void PretrainedConfig::fields(FieldVisitor& field) {
  field(BACKPLANE_FIELD(return_dict));
  field(BACKPLANE_FIELD(output_hidden_states));
  field(BACKPLANE_FIELD(torchscript));
  field(BACKPLANE_FIELD(torch_dtype));
  field(BACKPLANE_FIELD(use_bfloat16));
  field(BACKPLANE_FIELD(tf_legacy_loss));
  field(BACKPLANE_FIELD(pruned_heads));
  field(BACKPLANE_FIELD(tie_word_embeddings));
  field(BACKPLANE_FIELD(chunk_size_feed_forward));
  field(BACKPLANE_FIELD(is_encoder_decoder));
  field(BACKPLANE_FIELD(is_decoder));
  field(BACKPLANE_FIELD(cross_attention_hidden_size));
  field(BACKPLANE_FIELD(add_cross_attention));
  field(BACKPLANE_FIELD(tie_encoder_decoder));
  field(BACKPLANE_FIELD(max_length));
  field(BACKPLANE_FIELD(min_length));
  field(BACKPLANE_FIELD(do_sample));
  field(BACKPLANE_FIELD(early_stopping));
  field(BACKPLANE_FIELD(num_beams));
  field(BACKPLANE_FIELD(num_beam_groups));
  field(BACKPLANE_FIELD(diversity_penalty));
  field(BACKPLANE_FIELD(temperature));
  field(BACKPLANE_FIELD(top_k));
  field(BACKPLANE_FIELD(top_p));
  field(BACKPLANE_FIELD(typical_p));
  field(BACKPLANE_FIELD(repetition_penalty));
  field(BACKPLANE_FIELD(length_penalty));
  field(BACKPLANE_FIELD(no_repeat_ngram_size));
  field(BACKPLANE_FIELD(encoder_no_repeat_ngram_size));
  field(BACKPLANE_FIELD(bad_words_ids));
  field(BACKPLANE_FIELD(num_return_sequences));
  field(BACKPLANE_FIELD(output_scores));
  field(BACKPLANE_FIELD(return_dict_in_generate));
  field(BACKPLANE_FIELD(forced_bos_token_id));
  field(BACKPLANE_FIELD(forced_eos_token_id));
  field(BACKPLANE_FIELD(remove_invalid_values));
  field(BACKPLANE_FIELD(exponential_decay_length_penalty));
  field(BACKPLANE_FIELD(suppress_tokens));
  field(BACKPLANE_FIELD(begin_suppress_tokens));
  field(BACKPLANE_FIELD(architectures));
  field(BACKPLANE_FIELD(finetuning_task));
  field(BACKPLANE_FIELD(tokenizer_class));
  field(BACKPLANE_FIELD(prefix));
  field(BACKPLANE_FIELD(bos_token_id));
  field(BACKPLANE_FIELD(pad_token_id));
  field(BACKPLANE_FIELD(eos_token_id));
  field(BACKPLANE_FIELD(sep_token_id));
  field(BACKPLANE_FIELD(decoder_start_token_id));
  field(BACKPLANE_FIELD(task_specific_params));
  field(BACKPLANE_FIELD(problem_type));
  field(BACKPLANE_FIELD(transformers_version));
  field(BACKPLANE_FIELD(output_attentions));
}

void PretrainedConfig::set_num_labels(int64_t count) {
  if (count < 0) throw Error(ErrorCode::bad_config, concat("num_labels is ", count, "; expected 0 or more"));
  if (count > kMostLabels)
    throw Error(ErrorCode::limit_exceeded, concat("num_labels is ", count, "; at most ", kMostLabels, " are possible"));
  if (count == num_labels()) return;
  id2label.clear();
  Value::Object ids;
  for (int64_t i = 0; i < count; ++i) {
    const std::string name = "LABEL_" + std::to_string(i);
    id2label[i] = name;
    ids.emplace_back(name, i);
  }
  label2id = std::move(ids);
}

std::string PretrainedConfig::label(int64_t id) const {
  const auto found = id2label.find(id);
  if (found == id2label.end()) return "LABEL_" + std::to_string(id);
  return found->second.is_string() ? found->second.as_string() : found->second.to_string();
}

const Value* PretrainedConfig::find_extra(std::string_view key) const {
  for (const auto& [name, value] : extra) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::shared_ptr<PretrainedConfig> PretrainedConfig::clone() const {
  if (!make_) throw Error(ErrorCode::bad_config, "a configuration without a type; make it with make_config<Config>()");
  auto copy = make_(this);
  FieldLister lister;
  copy->fields(lister);
  for (const auto& [key, pointer] : lister.pointers) {
    if (*pointer) *pointer = (*pointer)->clone();
  }
  return copy;
}

PretrainedConfig* PretrainedConfig::part(std::string_view key) {
  FieldLister lister;
  fields(lister);
  for (const auto& [name, part] : lister.configs) {
    if (name == key) return part;
  }
  return nullptr;
}

std::shared_ptr<PretrainedConfig> PretrainedConfig::clone_part(std::string_view key) const {
  const PretrainedConfig* found = const_cast<PretrainedConfig*>(this)->part(key);  // which only looks
  return found ? found->clone() : nullptr;
}

void PretrainedConfig::set_attn_implementation(AttnImplementation implementation) {
  attn_implementation = implementation;
  FieldLister lister;
  fields(lister);
  for (const auto& [key, part] : lister.configs) part->set_attn_implementation(implementation);
}

std::shared_ptr<PretrainedConfig> PretrainedConfig::make_default() const { return make_(nullptr); }

void PretrainedConfig::name_parts() {
  FieldLister lister;
  fields(lister);
  for (const auto& [key, part] : lister.configs) part->name_parts();
}

std::shared_ptr<PretrainedConfig> make_config(std::string_view model_type) {
  const ConfigMaker maker = config_maker;
  if (!maker)
    throw Error(ErrorCode::unknown_model_type,
                concat("no registry is there to make a configuration of type '", model_type, "'"));
  return maker(model_type);
}

void set_config_maker(ConfigMaker maker) { config_maker = maker; }

}  // namespace backplane
