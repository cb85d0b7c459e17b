#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backplane/config/fields.h"
#include "backplane/config/value.h"

namespace backplane {

class PretrainedConfig;

/// generation_config.json: how a model generates, with the reference's keys and defaults. A number that the reference lets
/// be null is an optional. Plain data.
struct GenerationConfig {
  // Length
  std::optional<int64_t> max_length = 20;
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> min_length = 0;
  std::optional<int64_t> min_new_tokens;
  Value early_stopping = false;  // true, false or "never"
  std::optional<double> max_time;  // seconds
  Value stop_strings;            // a text or a list of them

  // Strategy
  bool do_sample = false;
  std::optional<int64_t> num_beams = 1;
  std::optional<int64_t> num_beam_groups = 1;
  std::optional<double> penalty_alpha;
  Value dola_layers;

  // Cache
  bool use_cache = true;
  std::optional<std::string> cache_implementation;
  Value cache_config;
  std::optional<bool> return_legacy_cache;
  std::optional<int64_t> prefill_chunk_size;

  // Logits
  std::optional<double> temperature = 1.0;
  std::optional<int64_t> top_k = 50;
  std::optional<double> top_p = 1.0;
  std::optional<double> min_p;
  std::optional<double> typical_p = 1.0;
  std::optional<double> epsilon_cutoff = 0.0;
  std::optional<double> eta_cutoff = 0.0;
  std::optional<double> diversity_penalty = 0.0;
  std::optional<double> repetition_penalty = 1.0;
  std::optional<double> encoder_repetition_penalty = 1.0;
  std::optional<double> length_penalty = 1.0;
  std::optional<int64_t> no_repeat_ngram_size = 0;
  Value bad_words_ids;    // lists of ids
  Value force_words_ids;
  bool renormalize_logits = false;
  Value constraints;
  std::optional<int64_t> forced_bos_token_id;
  Value forced_eos_token_id;  // a number or a list
  bool remove_invalid_values = false;
  Value exponential_decay_length_penalty;  // [start, factor]
  Value suppress_tokens;
  Value begin_suppress_tokens;
  Value sequence_bias;
  bool token_healing = false;
  std::optional<double> guidance_scale;
  std::optional<bool> low_memory;
  Value watermarking_config;

  // Results
  std::optional<int64_t> num_return_sequences = 1;
  bool output_attentions = false;
  bool output_hidden_states = false;
  bool output_scores = false;
  std::optional<bool> output_logits;
  bool return_dict_in_generate = false;

  // Special tokens
  std::optional<int64_t> pad_token_id;
  Value bos_token_id;  // numbers or lists
  Value eos_token_id;

  // Encoder and decoder
  std::optional<int64_t> encoder_no_repeat_ngram_size = 0;
  Value decoder_start_token_id;

  // Assistant
  bool is_assistant = false;
  std::optional<int64_t> num_assistant_tokens = 20;
  std::optional<std::string> num_assistant_tokens_schedule = "constant";
  std::optional<double> assistant_confidence_threshold = 0.4;
  std::optional<int64_t> prompt_lookup_num_tokens;
  std::optional<int64_t> max_matching_ngram_size;
  std::optional<int64_t> assistant_early_exit;
  std::optional<int64_t> assistant_lookbehind = 10;
  std::optional<int64_t> target_lookbehind = 10;

  bool disable_compile = false;
  bool _from_model_config = false;  // made from config.json, for lack of a file of its own
  std::optional<std::string> transformers_version = "4.53.3";

  /// Unknown keys, kept as the reference keeps them (AC-116).
  Value::Object extra;

  void fields(FieldVisitor& field);

  /// What the reference checks when such an object is made or changed: throws `invalid_value` naming key, value and what is
  /// possible; settings without effect are named in one warning.
  void validate() const;
  /// What it checks when generation starts: ranges of temperature, top_k, top_p and the other logits processors. Throws
  /// `invalid_value`.
  void check_ranges() const;
};

}  // namespace backplane
