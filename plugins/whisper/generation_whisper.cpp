// How Whisper writes: a prompt of start, language and task tokens, rules on which tokens may follow, and windows of 30
// seconds, each starting where the one before stopped. Reference: transformers, models/whisper/generation_whisper.py

#include <algorithm>

#include "modeling_whisper.h"

namespace backplane::whisper {
namespace {

constexpr double kTimeStep = 0.02;      // seconds between two time tokens
constexpr double kFrameSeconds = 0.01;  // of one input frame
constexpr int64_t kStride = 2;          // input frames a state of the encoder

// The keys of generation_config.json that Whisper alone has.
struct Rules {
  int64_t start, eos, max_length;
  std::optional<int64_t> no_timestamps;
  int64_t first_time;  // the token of 0 seconds
  std::optional<int64_t> max_initial_time;
  std::vector<int64_t> suppressed, suppressed_first;
  bool timestamps = false;
};

const Value* extra(const GenerationConfig& config, std::string_view key) {
  for (const auto& [name, value] : config.extra) {
    if (name == key && !value.is_null()) return &value;
  }
  return nullptr;
}

std::optional<int64_t> number(const GenerationConfig& config, std::string_view key) {
  const Value* value = extra(config, key);
  return value ? std::optional(value->as_int()) : std::nullopt;
}

int64_t first_of(const Value& ids, const char* key) {
  const auto list = ids.as_int_list();
  if (list.empty()) throw Error(ErrorCode::bad_config, concat("generation_config.json: ", key, " is not set"));
  return list.front();
}

int64_t entry(const GenerationConfig& config, const char* table, const std::string& key, const char* what) {
  const Value* map = extra(config, table);
  if (!map) {
    throw Error(ErrorCode::invalid_value,
                concat("this model has no choice of ", what, ": generation_config.json has no ", table));
  }
  const Value* id = map->find(key);
  if (!id) {
    std::vector<std::string> known;
    for (const auto& item : map->as_object()) known.push_back(item.first);
    throw Error(ErrorCode::invalid_value,
                concat("the model does not know the ", what, " '", key, "'; it knows ", join(known)));
  }
  return id->as_int();
}

Rules rules_of(const GenerationConfig& config, const WhisperConfig& c, bool timestamps) {
  Rules rules;
  rules.start = first_of(config.decoder_start_token_id, "decoder_start_token_id");
  rules.eos = first_of(config.eos_token_id, "eos_token_id");
  rules.no_timestamps = number(config, "no_timestamps_token_id");
  rules.first_time = rules.no_timestamps ? *rules.no_timestamps + 1 : c.vocab_size + 1;
  rules.max_initial_time = number(config, "max_initial_timestamp_index");
  rules.suppressed = config.suppress_tokens.as_int_list();
  rules.suppressed_first = config.begin_suppress_tokens.as_int_list();
  rules.max_length = std::min(config.max_length.value_or(20), c.max_target_positions);
  rules.timestamps = timestamps;
  if (timestamps && !rules.no_timestamps) {
    throw Error(ErrorCode::bad_config,
                "generation_config.json has no no_timestamps_token_id, which times are counted from");
  }
  for (const auto* ids : {&rules.suppressed, &rules.suppressed_first}) {
    for (int64_t id : *ids) {
      if (id < 0 || id >= c.vocab_size)
        throw Error(ErrorCode::bad_config,
                    concat("generation_config.json suppresses token ", id, "; the vocabulary has ", c.vocab_size));
    }
  }
  if (rules.first_time > c.vocab_size && timestamps)
    throw Error(ErrorCode::bad_config,
                concat("no_timestamps_token_id (", *rules.no_timestamps, ") is outside of the vocabulary"));
  return rules;
}

void forbid(Tensor& scores, const std::vector<int64_t>& ids) {
  if (!ids.empty()) scores.index_fill_(0, at::tensor(ids), -std::numeric_limits<double>::infinity());
}

void forbid(Tensor& scores, int64_t from, int64_t to) {
  if (from < to) scores.slice(0, from, to).fill_(-std::numeric_limits<double>::infinity());
}

// Times come in pairs, never go back, and win where all of them together are likelier than any word.
void keep_times_in_order(Tensor& scores, const std::vector<int64_t>& written, const Rules& rules) {
  const int64_t vocabulary = scores.size(0), first = rules.first_time;
  forbid(scores, *rules.no_timestamps, *rules.no_timestamps + 1);
  const size_t n = written.size();
  const bool last_was_time = n >= 1 && written[n - 1] >= first;
  const bool one_before_was_time = n < 2 || written[n - 2] >= first;
  if (last_was_time) {
    if (one_before_was_time) {
      forbid(scores, first, vocabulary);
    } else {
      forbid(scores, 0, rules.eos);
    }
  }
  const auto last_time = std::find_if(written.rbegin(), written.rend(), [&](int64_t id) { return id >= first; });
  if (last_time != written.rend())
    forbid(scores, first, last_was_time && !one_before_was_time ? *last_time : *last_time + 1);
  if (n == 0) {
    forbid(scores, 0, first);
    if (rules.max_initial_time) forbid(scores, std::min(first + *rules.max_initial_time + 1, vocabulary), vocabulary);
  }
  const Tensor logprobs = at::log_softmax(scores, 0);
  const double time = at::logsumexp(logprobs.slice(0, first), 0).item<double>();
  if (time > logprobs.slice(0, 0, first).max().item<double>()) forbid(scores, 0, first);
}

// One window: what follows the prompt, without the end token.
std::vector<int64_t> write_window(WhisperModel& model, nn::Linear& head, const Tensor& features,
                                  const std::vector<int64_t>& prompt, const Rules& rules) {
  const Tensor states = model.encode({{"input_features", features}})["last_hidden_state"];
  auto cache = std::make_shared<KvCache>(rules.max_length);
  std::vector<int64_t> written;
  Tensor next = at::tensor(prompt).unsqueeze(0);
  for (auto length = static_cast<int64_t>(prompt.size()); length < rules.max_length; ++length) {
    const auto output =
        model.forward({{"encoder_outputs", states}, {"decoder_input_ids", next}, {"past_key_values", cache}});
    const Tensor x = output["last_hidden_state"];
    Tensor scores = head(x.select(1, x.size(1) - 1)).squeeze(0).to(at::kFloat, false, true);
    if (written.empty()) forbid(scores, rules.suppressed_first);
    forbid(scores, rules.suppressed);
    if (rules.timestamps) keep_times_in_order(scores, written, rules);
    const int64_t id = scores.argmax().item<int64_t>();
    if (id == rules.eos) break;
    written.push_back(id);
    next = at::full({1, 1}, id, at::kLong);
  }
  return written;
}

// Cuts a window's tokens where two times stand side by side. Returns the frames that the window has used up.
int64_t cut(const std::vector<int64_t>& ids, double offset, int64_t frames, const Rules& rules,
            std::vector<TranscribedSegment>& segments) {
  const auto is_time = [&](size_t i) { return ids[i] >= rules.first_time; };
  const auto seconds = [&](int64_t id) { return offset + static_cast<double>(id - rules.first_time) * kTimeStep; };
  std::vector<size_t> ends;
  for (size_t i = 1; i < ids.size(); ++i) {
    if (is_time(i - 1) && is_time(i)) ends.push_back(i);
  }
  if (ends.empty()) {
    double last = static_cast<double>(static_cast<int64_t>(static_cast<double>(frames) * kFrameSeconds / kTimeStep));
    const auto time = std::find_if(ids.rbegin(), ids.rend(), [&](int64_t id) { return id >= rules.first_time; });
    if (time != ids.rend() && *time != rules.first_time) last = static_cast<double>(*time - rules.first_time);
    segments.push_back({offset, offset + last * kTimeStep, ids});
    return frames;
  }
  const bool ends_in_one_time = is_time(ids.size() - 1) && !is_time(ids.size() - 2);
  if (ends_in_one_time) {
    ends.push_back(ids.size());
  } else {
    ++ends.back();
  }
  size_t from = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    const bool doubled = i + 1 == ends.size() && !ends_in_one_time;  // its closing time stands twice
    const size_t to = std::min(ends[i], ids.size());
    segments.push_back(
        {seconds(ids[from]),
         seconds(ids[to - (doubled ? 2 : 1)]),
         {ids.begin() + static_cast<std::ptrdiff_t>(from), ids.begin() + static_cast<std::ptrdiff_t>(to)}});
    from = to;
  }
  return ends_in_one_time ? frames : (ids[from - 2] - rules.first_time) * kStride;
}

}  // namespace

TranscribedIds WhisperForConditionalGeneration::transcribe(const Tensor& features, const TranscribeOptions& options) {
  c10::InferenceMode guard;
  const GenerationConfig config = generation_config.value_or(GenerationConfig{});
  const int64_t window = kStride * c.max_source_positions, total = features.size(-1);
  const Value* multilingual = extra(config, "is_multilingual");
  if ((options.language || options.task) && multilingual && multilingual->is_bool() && !multilingual->as_bool())
    throw Error(ErrorCode::invalid_value, "this model knows English only; leave language and task out");
  const Rules rules = rules_of(config, c, options.timestamps || total > window);

  const auto window_at = [&](int64_t seek, int64_t frames) {
    return at::constant_pad_nd(features.slice(2, seek, seek + frames), {0, window - frames});
  };

  // start, language, task
  std::vector<int64_t> prompt = {rules.start};
  bool listen = true;
  if (options.language) {
    const std::string& given = *options.language;
    prompt.push_back(
        entry(config, "lang_to_id", given.starts_with("<|") ? given : concat("<|", given, "|>"), "language"));
    listen = false;
  } else if (const Value* forced = extra(config, "forced_decoder_ids"); forced && !options.task) {
    for (const auto& pair : forced->as_list()) {
      const auto& items = pair.as_list();
      if (items.size() != 2 || items[0].as_int() != static_cast<int64_t>(prompt.size()))
        throw Error(ErrorCode::bad_config,
                    concat("generation_config.json: forced_decoder_ids are ", forced->to_string(),
                           "; expected pairs of position and token, from position 1 on"));
      if (prompt.size() == 1 && !items[1].is_null()) listen = false;
      prompt.push_back(items[1].is_null() ? -1 : items[1].as_int());
    }
  }
  if (listen && extra(config, "lang_to_id")) {
    const auto output = forward({{"input_features", window_at(0, std::min(total, window))},
                                 {"decoder_input_ids", at::full({1, 1}, rules.start, at::kLong)},
                                 {"use_cache", false}});
    const Tensor scores = output["logits"][0].select(0, 0);
    int64_t best = -1;
    for (const auto& [name, id] : extra(config, "lang_to_id")->as_object()) {
      if (id.as_int() < 0 || id.as_int() >= c.vocab_size)
        throw Error(ErrorCode::bad_config, concat("generation_config.json: lang_to_id of ", name, " is no token"));
      if (best < 0 || scores[id.as_int()].item<float>() > scores[best].item<float>()) best = id.as_int();
    }
    if (prompt.size() > 1) {
      prompt[1] = best;
    } else {
      prompt.push_back(best);
    }
  }
  if (options.task) {
    prompt.push_back(entry(config, "task_to_id", *options.task, "task"));
  } else if (options.language && extra(config, "task_to_id")) {
    prompt.push_back(entry(config, "task_to_id", "transcribe", "task"));
  }
  std::erase(prompt, -1);
  if (!rules.timestamps && rules.no_timestamps && prompt.back() != *rules.no_timestamps)
    prompt.push_back(*rules.no_timestamps);
  if (rules.timestamps && prompt.back() == *rules.no_timestamps) prompt.pop_back();

  TranscribedIds result;
  if (rules.no_timestamps) result.first_time = rules.first_time;
  for (int64_t seek = 0; seek < total;) {
    const int64_t frames = std::min(total - seek, window);
    const auto ids = write_window(*model, proj_out, window_at(seek, frames), prompt, rules);
    const int64_t used = cut(ids, static_cast<double>(seek) * kTimeStep / kStride, frames, rules, result.segments);
    // A model that says nothing but 0 seconds would never get on.
    seek += used > 0 ? used : frames;
  }
  for (const auto& segment : result.segments)
    result.ids.insert(result.ids.end(), segment.ids.begin(), segment.ids.end());
  return result;
}

}  // namespace backplane::whisper
