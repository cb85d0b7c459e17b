#include "backplane/config/generation_config.h"

#include <algorithm>

#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/base/version.h"
#include "backplane/config/generation_config_json.h"
#include "field_visitors.h"

namespace backplane {
namespace {

constexpr std::string_view kCaches[] = {"static",           "offloaded_static",         "sliding_window", "hybrid",    "hybrid_chunked",
                                        "offloaded_hybrid", "offloaded_hybrid_chunked", "mamba",          "quantized", "offloaded",
                                        "dynamic"};
// Arguments of generate() that are no settings.
constexpr const char* kGenerateArguments[] = {"logits_processor", "stopping_criteria",   "prefix_allowed_tokens_fn",
                                              "synced_gpus",      "assistant_model",     "streamer",
                                              "negative_prompt_ids", "negative_prompt_attention_mask", "use_model_defaults"};

template <class T>
std::string shown(const T& value) {
  return concat(value);
}
std::string shown(bool value) {
  return value ? "true" : "false";
}
std::string shown(const Value& value) {
  return value.to_string();
}
template <class T>
std::string shown(const std::optional<T>& value) {
  return value ? shown(*value) : "null";
}

template <class T>
[[noreturn]] void refuse(const char* key, const T& value, const std::string& expected) {
  throw Error(ErrorCode::invalid_value, concat(key, " is ", shown(value), "; expected ", expected));
}

template <class T>
void in_range(const char* key, const std::optional<T>& value, bool fits, const char* expected) {
  if (value && !fits) refuse(key, value, expected);
}

bool is_text(const Value& value, std::string_view text) {
  return value.is_string() && value.as_string() == text;
}

void check_cache(const GenerationConfig& c) {
  if (c.cache_implementation && std::find(std::begin(kCaches), std::end(kCaches), *c.cache_implementation) == std::end(kCaches)) {
    refuse("cache_implementation", c.cache_implementation, concat("one of ", join({std::begin(kCaches), std::end(kCaches)})));
  }
  if (!c.cache_config.is_null() && c.cache_implementation != "quantized" && c.cache_implementation != "static") {
    refuse("cache_config", c.cache_config, "null, since only the cache implementations 'quantized' and 'static' take one");
  }
}

void check_watermark(const Value& watermark) {
  if (watermark.is_null()) return;
  if (!watermark.is_object()) refuse("watermarking_config", watermark, "an object");
  if (const Value* scheme = watermark.find("seeding_scheme"); scheme && !is_text(*scheme, "selfhash") && !is_text(*scheme, "lefthash")) {
    refuse("watermarking_config.seeding_scheme", *scheme, "'selfhash' or 'lefthash'");
  }
  const double ratio = watermark.number_or("greenlist_ratio", 0.25);
  if (!(ratio >= 0 && ratio <= 1)) refuse("watermarking_config.greenlist_ratio", ratio, "a number from 0 to 1");
  const double width = watermark.number_or("context_width", 1);
  if (!(width >= 1)) refuse("watermarking_config.context_width", width, "1 or more");
}

// Settings that the chosen way of generating ignores.
std::vector<std::string> without_effect(const GenerationConfig& c) {
  std::vector<std::string> keys;
  const auto add = [&](bool ignored, const char* key) {
    if (ignored) keys.emplace_back(key);
  };
  add(c.pad_token_id.value_or(0) < 0, "pad_token_id");
  if (!c.do_sample) {
    add(c.temperature.value_or(1.0) != 1.0, "temperature");
    add(c.top_p.value_or(1.0) != 1.0, "top_p");
    add(c.min_p.has_value(), "min_p");
    add(c.typical_p.value_or(1.0) != 1.0, "typical_p");
    add(c.top_k.value_or(50) != 50 && !c.penalty_alpha, "top_k");
    add(c.epsilon_cutoff.value_or(0.0) != 0.0, "epsilon_cutoff");
    add(c.eta_cutoff.value_or(0.0) != 0.0, "eta_cutoff");
  }
  if (c.num_beams == 1) {
    add(c.early_stopping != Value(false), "early_stopping");
    add(c.num_beam_groups.value_or(1) != 1, "num_beam_groups");
    add(c.diversity_penalty.value_or(0.0) != 0.0, "diversity_penalty");
    add(c.length_penalty.value_or(1.0) != 1.0, "length_penalty");
    add(!c.constraints.is_null(), "constraints");
    add(!c.dola_layers.is_null() && c.repetition_penalty.value_or(0.0) < 1.2, "repetition_penalty");
  }
  if (!c.use_cache) {
    add(c.cache_implementation.has_value(), "cache_implementation");
    add(!c.cache_config.is_null(), "cache_config");
    add(c.return_legacy_cache.has_value(), "return_legacy_cache");
  }
  if (!c.return_dict_in_generate) {
    add(c.output_attentions, "output_attentions");
    add(c.output_hidden_states, "output_hidden_states");
    add(c.output_scores, "output_scores");
    add(c.output_logits.value_or(false), "output_logits");
  }
  return keys;
}

void check_beams(const GenerationConfig& c) {
  const int64_t beams = c.num_beams.value_or(1);
  const int64_t groups = c.num_beam_groups.value_or(1);
  if (beams < 1) refuse("num_beams", c.num_beams, "1 or more");
  if (groups < 1) refuse("num_beam_groups", c.num_beam_groups, "1 or more");
  const int64_t sequences = c.num_return_sequences.value_or(1);
  if (sequences < 1) refuse("num_return_sequences", c.num_return_sequences, "1 or more");
  if (beams == 1) {
    if (sequences != 1 && !c.do_sample) refuse("num_return_sequences", sequences, "1, since greedy search finds one sequence");
    return;
  }
  if (!c.constraints.is_null() || !c.force_words_ids.is_null()) {
    if (c.do_sample) refuse("do_sample", c.do_sample, "false with constraints or force_words_ids");
    if (groups != 1) refuse("num_beam_groups", groups, "1 with constraints or force_words_ids");
  } else if (c.diversity_penalty.value_or(0.0) != 0.0 || groups != 1) {
    if (c.do_sample) refuse("do_sample", c.do_sample, "false with groups of beams (diversity_penalty, num_beam_groups)");
    if (beams % groups != 0) refuse("num_beams", beams, concat("a multiple of num_beam_groups (", groups, ")"));
    if (c.diversity_penalty.value_or(0.0) == 0.0) refuse("diversity_penalty", c.diversity_penalty, "more than 0, or all groups would be alike");
  }
  if (sequences > beams) refuse("num_return_sequences", sequences, concat("at most num_beams (", beams, ")"));
}

void check_words(const char* key, const Value& words) {
  if (words.is_null()) return;
  const auto is_id = [](const Value& id) { return id.is_int() && id.as_int() >= 0; };
  const auto is_word = [&](const Value& word) { return word.is_list() && std::all_of(word.as_list().begin(), word.as_list().end(), is_id); };
  if (!words.is_list() || words.as_list().empty() || !std::all_of(words.as_list().begin(), words.as_list().end(), is_word)) {
    refuse(key, words, "a list of lists of token ids");
  }
}

template <class Function>
void each_field(GenerationConfig& config, Function&& use) {
  FieldLister lister;
  config.fields(lister);
  for (const auto& key : lister.keys) use(key);
}

void read_fields(GenerationConfig& config, const Json& json, const FieldSource& source, std::vector<std::pair<std::string, const Json*>>& left) {
  FieldReader reader(json, source);
  config.fields(reader);
  left = reader.left();
}

}  // namespace

void GenerationConfig::fields(FieldVisitor& field) {
  field(BACKPLANE_FIELD(max_length));
  field(BACKPLANE_FIELD(max_new_tokens));
  field(BACKPLANE_FIELD(min_length));
  field(BACKPLANE_FIELD(min_new_tokens));
  field(BACKPLANE_FIELD(early_stopping));
  field(BACKPLANE_FIELD(max_time));
  field(BACKPLANE_FIELD(stop_strings));
  field(BACKPLANE_FIELD(do_sample));
  field(BACKPLANE_FIELD(num_beams));
  field(BACKPLANE_FIELD(num_beam_groups));
  field(BACKPLANE_FIELD(penalty_alpha));
  field(BACKPLANE_FIELD(dola_layers));
  field(BACKPLANE_FIELD(use_cache));
  field(BACKPLANE_FIELD(cache_implementation));
  field(BACKPLANE_FIELD(cache_config));
  field(BACKPLANE_FIELD(return_legacy_cache));
  field(BACKPLANE_FIELD(prefill_chunk_size));
  field(BACKPLANE_FIELD(temperature));
  field(BACKPLANE_FIELD(top_k));
  field(BACKPLANE_FIELD(top_p));
  field(BACKPLANE_FIELD(min_p));
  field(BACKPLANE_FIELD(typical_p));
  field(BACKPLANE_FIELD(epsilon_cutoff));
  field(BACKPLANE_FIELD(eta_cutoff));
  field(BACKPLANE_FIELD(diversity_penalty));
  field(BACKPLANE_FIELD(repetition_penalty));
  field(BACKPLANE_FIELD(encoder_repetition_penalty));
  field(BACKPLANE_FIELD(length_penalty));
  field(BACKPLANE_FIELD(no_repeat_ngram_size));
  field(BACKPLANE_FIELD(bad_words_ids));
  field(BACKPLANE_FIELD(force_words_ids));
  field(BACKPLANE_FIELD(renormalize_logits));
  field(BACKPLANE_FIELD(constraints));
  field(BACKPLANE_FIELD(forced_bos_token_id));
  field(BACKPLANE_FIELD(forced_eos_token_id));
  field(BACKPLANE_FIELD(remove_invalid_values));
  field(BACKPLANE_FIELD(exponential_decay_length_penalty));
  field(BACKPLANE_FIELD(suppress_tokens));
  field(BACKPLANE_FIELD(begin_suppress_tokens));
  field(BACKPLANE_FIELD(sequence_bias));
  field(BACKPLANE_FIELD(token_healing));
  field(BACKPLANE_FIELD(guidance_scale));
  field(BACKPLANE_FIELD(low_memory));
  field(BACKPLANE_FIELD(watermarking_config));
  field(BACKPLANE_FIELD(num_return_sequences));
  field(BACKPLANE_FIELD(output_attentions));
  field(BACKPLANE_FIELD(output_hidden_states));
  field(BACKPLANE_FIELD(output_scores));
  field(BACKPLANE_FIELD(output_logits));
  field(BACKPLANE_FIELD(return_dict_in_generate));
  field(BACKPLANE_FIELD(pad_token_id));
  field(BACKPLANE_FIELD(bos_token_id));
  field(BACKPLANE_FIELD(eos_token_id));
  field(BACKPLANE_FIELD(encoder_no_repeat_ngram_size));
  field(BACKPLANE_FIELD(decoder_start_token_id));
  field(BACKPLANE_FIELD(is_assistant));
  field(BACKPLANE_FIELD(num_assistant_tokens));
  field(BACKPLANE_FIELD(num_assistant_tokens_schedule));
  field(BACKPLANE_FIELD(assistant_confidence_threshold));
  field(BACKPLANE_FIELD(prompt_lookup_num_tokens));
  field(BACKPLANE_FIELD(max_matching_ngram_size));
  field(BACKPLANE_FIELD(assistant_early_exit));
  field(BACKPLANE_FIELD(assistant_lookbehind));
  field(BACKPLANE_FIELD(target_lookbehind));
  field(BACKPLANE_FIELD(disable_compile));
  field(BACKPLANE_FIELD(_from_model_config));
  field(BACKPLANE_FIELD(transformers_version));
}

void GenerationConfig::validate() const {
  if (!early_stopping.is_bool() && !is_text(early_stopping, "never") && early_stopping != Value(0) && early_stopping != Value(1)) {
    refuse("early_stopping", early_stopping, "true, false or 'never'");
  }
  in_range("max_new_tokens", max_new_tokens, max_new_tokens.value_or(1) > 0, "more than 0");
  check_cache(*this);
  check_watermark(watermarking_config);
  check_beams(*this);
  for (const char* argument : kGenerateArguments) {
    if (std::any_of(extra.begin(), extra.end(), [&](const auto& item) { return item.first == argument; })) {
      throw Error(ErrorCode::invalid_value, concat(argument, " is an argument of generate, not a setting of the generation configuration"));
    }
  }
  if (const auto keys = without_effect(*this); !keys.empty()) {
    warn(concat("the following generation settings have no effect as the others stand: ", join(keys)));
  }
}

void GenerationConfig::check_ranges() const {
  const auto fits = [](const auto& value, auto&& test) { return !value || test(*value); };
  const auto not_negative = [](int64_t number) { return number >= 0; };
  in_range("max_length", max_length, fits(max_length, [](int64_t n) { return n > 0; }), "more than 0");
  in_range("min_length", min_length, fits(min_length, not_negative), "0 or more");
  in_range("min_new_tokens", min_new_tokens, fits(min_new_tokens, not_negative), "0 or more");
  const auto positive = [](double number) { return number > 0; };
  in_range("repetition_penalty", repetition_penalty, fits(repetition_penalty, positive), "more than 0");
  in_range("encoder_repetition_penalty", encoder_repetition_penalty, fits(encoder_repetition_penalty, positive), "more than 0");
  in_range("no_repeat_ngram_size", no_repeat_ngram_size, fits(no_repeat_ngram_size, not_negative), "0 or more");
  in_range("encoder_no_repeat_ngram_size", encoder_no_repeat_ngram_size, fits(encoder_no_repeat_ngram_size, not_negative), "0 or more");
  check_words("bad_words_ids", bad_words_ids);
  if (!do_sample) return;
  in_range("temperature", temperature, fits(temperature, positive), "more than 0; for a temperature of 0 set do_sample to false");
  in_range("top_k", top_k, fits(top_k, not_negative), "0 (off) or more");
  in_range("top_p", top_p, fits(top_p, [](double p) { return p >= 0 && p <= 1; }), "a number from 0 to 1");
  in_range("min_p", min_p, fits(min_p, [](double p) { return p >= 0 && p <= 1; }), "a number from 0 to 1");
  in_range("typical_p", typical_p, fits(typical_p, [](double p) { return p > 0 && p <= 1; }), "a number above 0, at most 1");
  const auto fraction = [](double number) { return number >= 0 && number < 1; };
  in_range("epsilon_cutoff", epsilon_cutoff, fits(epsilon_cutoff, fraction), "a number from 0 to below 1");
  in_range("eta_cutoff", eta_cutoff, fits(eta_cutoff, fraction), "a number from 0 to below 1");
}

GenerationConfig read_generation_config(const Json& json, const std::string& name) {
  if (!json.is_object()) throw Error(ErrorCode::bad_config, concat(name, " is ", to_value(json).to_string(), "; expected an object"));
  GenerationConfig config;
  const FieldSource source{name, ErrorCode::bad_config};
  std::vector<std::pair<std::string, const Json*>> left;
  read_fields(config, json, source, left);
  for (const auto& [key, value] : left) {
    if (key != "_commit_hash" && key != "compile_config" && !config._from_model_config) set(config.extra, key, to_value(*value));
  }
  try {
    config.validate();
  } catch (const Error& error) {
    throw Error(error.code(), concat(name, ": ", error.what()));
  }
  return config;
}

GenerationConfig generation_config_from(const PretrainedConfig& config) {
  const auto known_of = [](const PretrainedConfig& source) {
    Json json = write_config(source);
    Json known = Json::object();
    GenerationConfig defaults;
    each_field(defaults, [&](const std::string& key) {
      if (const auto found = json.find(key); found != json.end() && !found->is_null()) known[key] = *found;
    });
    return known;
  };
  const FieldSource source{"config.json", ErrorCode::bad_config};
  std::vector<std::pair<std::string, const Json*>> left;
  GenerationConfig generation;
  const Json own = known_of(config);
  read_fields(generation, own, source, left);

  FieldLister parts;
  const_cast<PretrainedConfig&>(config).fields(parts);
  const auto decoder = std::find_if(parts.configs.begin(), parts.configs.end(), [](const auto& part) {
    return part.first == "decoder" || part.first == "generator" || part.first == "text_config";
  });
  if (decoder != parts.configs.end()) {
    const Json now = write_generation_config(generation);
    const Json defaults = write_generation_config({});
    const Json inner = known_of(*decoder->second);
    Json unset = Json::object();
    for (auto it = inner.begin(); it != inner.end(); ++it) {
      if (now[it.key()] == defaults[it.key()]) unset[it.key()] = it.value();
    }
    read_fields(generation, unset, source, left);
  }
  generation._from_model_config = true;
  generation.transformers_version = kReferenceVersion;
  if (generation.output_attentions || generation.output_hidden_states || generation.output_scores || generation.output_logits.value_or(false)) {
    generation.return_dict_in_generate = true;
  }
  generation.validate();
  return generation;
}

Json write_generation_config(const GenerationConfig& config) {
  FieldWriter writer;
  const_cast<GenerationConfig&>(config).fields(writer);  // the writer only looks
  for (const auto& [key, value] : config.extra) writer.put(key.c_str(), to_json(value));
  return writer.take();
}

Json write_generation_config_diff(const GenerationConfig& config) {
  const Json written = write_generation_config(config);
  const Json defaults = write_generation_config({});
  Json diff = Json::object();
  for (auto it = written.begin(); it != written.end(); ++it) {
    if (!defaults.contains(it.key()) || it.value() != defaults[it.key()]) diff[it.key()] = it.value();
  }
  diff["transformers_version"] = kReferenceVersion;
  return diff;
}

std::string generation_config_to_json_string(const GenerationConfig& config, bool diff) {
  Json json = diff ? write_generation_config_diff(config) : write_generation_config(config);
  json["transformers_version"] = kReferenceVersion;
  return python_dumps(json, 2, true, true) + "\n";
}

Json override_generation_config(GenerationConfig& config, const Json& overrides) {
  const FieldSource source{"", ErrorCode::invalid_value};
  std::vector<std::pair<std::string, const Json*>> left;
  read_fields(config, overrides, source, left);
  Json unused = Json::object();
  for (const auto& [key, value] : left) {
    const auto known = std::find_if(config.extra.begin(), config.extra.end(), [&, name = key](const auto& item) { return item.first == name; });
    if (known == config.extra.end()) {
      unused[key] = *value;
    } else {
      known->second = to_value(*value);
    }
  }
  config.validate();
  return unused;
}

}  // namespace backplane
