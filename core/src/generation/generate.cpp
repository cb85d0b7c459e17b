#include "backplane/generation/generate.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// The model's generation_config with the call's options over it, in the form that the loop needs.
struct Settings {
  int64_t max_new_tokens, min_new_tokens;
  bool do_sample;
  double temperature, top_p, min_p, repetition_penalty;
  int64_t top_k;
  std::vector<int64_t> eos;
  std::optional<int64_t> pad;
};

[[noreturn]] void out_of_range(const char* name, double value, const char* expected) {
  throw Error(ErrorCode::invalid_value, concat(name, " is ", value, "; expected ", expected));
}

std::vector<int64_t> ids_of(const Value& value) {
  if (value.is_null()) return {};
  if (value.is_int()) return {value.as_int()};
  std::vector<int64_t> ids;
  for (const auto& id : value.as_list()) ids.push_back(id.as_int());
  return ids;
}

Settings settings_of(const PreTrainedModel& model, const GenerateOptions& options, int64_t prompt) {
  const GenerationConfig config = model.generation_config.value_or(GenerationConfig{});
  Settings s;
  const auto max_new = options.max_new_tokens ? options.max_new_tokens
                       : options.max_length   ? std::nullopt
                                              : config.max_new_tokens;
  s.max_new_tokens = max_new ? *max_new : options.max_length.value_or(config.max_length.value_or(20)) - prompt;
  if (max_new && *max_new <= 0) out_of_range("max_new_tokens", static_cast<double>(*max_new), "a number above 0");
  if (s.max_new_tokens <= 0) {
    throw Error(ErrorCode::invalid_value,
                concat("the prompt has ", prompt, " tokens and max_length is ", s.max_new_tokens + prompt,
                       ", so nothing is left to generate; set max_new_tokens"));
  }
  s.min_new_tokens = options.min_new_tokens.value_or(config.min_new_tokens.value_or(0));
  s.do_sample = options.do_sample.value_or(config.do_sample);
  s.temperature = options.temperature.value_or(config.temperature.value_or(1.0));
  s.top_k = options.top_k.value_or(config.top_k.value_or(0));
  s.top_p = options.top_p.value_or(config.top_p.value_or(1.0));
  s.min_p = options.min_p.value_or(config.min_p.value_or(0.0));
  s.repetition_penalty = options.repetition_penalty.value_or(config.repetition_penalty.value_or(1.0));
  s.eos = options.eos_token_id ? *options.eos_token_id : ids_of(config.eos_token_id);
  s.pad = options.pad_token_id ? options.pad_token_id : config.pad_token_id;
  if (!s.pad && !s.eos.empty()) s.pad = s.eos.front();
  if (s.do_sample && !(s.temperature > 0 && std::isfinite(s.temperature)))
    out_of_range("temperature", s.temperature, "a number above 0; for greedy search set do_sample to false");
  if (s.do_sample && !(s.top_p >= 0 && s.top_p <= 1)) out_of_range("top_p", s.top_p, "a number from 0 to 1");
  if (s.do_sample && !(s.min_p >= 0 && s.min_p <= 1)) out_of_range("min_p", s.min_p, "a number from 0 to 1");
  if (s.top_k < 0) out_of_range("top_k", static_cast<double>(s.top_k), "0 (off) or more");
  if (!(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty)))
    out_of_range("repetition_penalty", s.repetition_penalty, "a number above 0");
  return s;
}

// Keskar et al. 2019, https://arxiv.org/abs/1909.05858: scores of ids that occurred are divided (or multiplied where
// negative).
void penalise_repetition(Tensor& scores, const Tensor& sequences, double penalty) {
  const Tensor seen = scores.gather(1, sequences);
  scores.scatter_(1, sequences, at::where(seen < 0, seen * penalty, seen / penalty));
}

// The reference's order: temperature, top-k, top-p (https://arxiv.org/abs/1904.09751), min-p
// (https://arxiv.org/abs/2407.01082).
Tensor warp(Tensor scores, const Settings& s) {
  constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
  scores = scores / s.temperature;
  if (s.top_k > 0 && s.top_k < scores.size(-1)) {
    const Tensor smallest = std::get<0>(scores.topk(s.top_k, -1)).slice(-1, s.top_k - 1);
    scores = scores.masked_fill(scores < smallest, kMinusInfinity);
  }
  if (s.top_p < 1) {
    auto [sorted, order] = scores.sort(-1, false);
    Tensor remove = at::softmax(sorted, -1).cumsum(-1) <= 1 - s.top_p;
    remove.slice(-1, -1).fill_(false);
    scores = scores.masked_fill(at::zeros_like(remove).scatter(1, order, remove), kMinusInfinity);
  }
  if (s.min_p > 0) {
    const Tensor probs = at::softmax(scores, -1);
    scores = scores.masked_fill(probs < s.min_p * probs.amax(-1, true), kMinusInfinity);
  }
  return scores;
}

bool takes(const PreTrainedModel& model, std::string_view name) {
  const auto names = model.arguments();
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The argument that takes the cache; empty where there is none.
std::string cache_argument(const PreTrainedModel& model) {
  for (const char* name : {"past_key_values", "cache_params", "state"}) {
    if (takes(model, name)) return name;
  }
  return "";
}

// Positions count from the first token that is no padding.
Tensor positions_of(const Tensor& attention_mask) {
  return (attention_mask.to(at::kLong).cumsum(-1) - 1).masked_fill(attention_mask == 0, 1);
}

}  // namespace

GenerateResult generate(PreTrainedModel& model, const ModelInputs& inputs, const GenerateOptions& options,
                        TokenStreamer* streamer) {
  if (!model.can_generate())
    throw Error(ErrorCode::invalid_value,
                concat(model.name(), " cannot generate; load the model through AutoModelForCausalLM"));
  const Tensor prompt = inputs["input_ids"];
  if (prompt.dim() != 2 || prompt.size(0) == 0 || prompt.size(1) == 0) {
    throw Error(ErrorCode::invalid_value,
                concat("input_ids has the shape ", prompt.sizes(), "; expected [batch, seq] with at least one token"));
  }
  const int64_t batch = prompt.size(0), prompt_length = prompt.size(1);
  const Settings s = settings_of(model, options, prompt_length);

  c10::InferenceMode guard;
  std::optional<at::Generator> generator;
  if (options.seed) generator = at::detail::createCPUGenerator(*options.seed);

  // Room for a reasonable answer at once; the cache grows beyond it.
  const int64_t room = std::min<int64_t>(s.max_new_tokens, 1024);
  Tensor sequences = at::empty({batch, prompt_length + room}, at::kLong);
  sequences.slice(1, 0, prompt_length).copy_(prompt);
  Tensor attention_mask = inputs.tensor("attention_mask");
  const bool padded = attention_mask.defined() && attention_mask.min().item<int64_t>() == 0;
  Tensor types = inputs.tensor("token_type_ids");
  KvCachePtr cache;
  const std::string cache_name = cache_argument(model);
  if (options.use_cache && !cache_name.empty()) cache = std::make_shared<KvCache>(prompt_length + room);

  GenerateResult result;
  std::vector<bool> finished(static_cast<size_t>(batch), false);
  int64_t length = prompt_length;
  const double start = seconds();
  double prefill_end = start;
  for (int64_t step = 0; step < s.max_new_tokens; ++step) {
    // A model that fills no cache gets the whole sequence again.
    const int64_t past = cache ? cache->length() : 0;
    ModelInputs call = inputs;
    call.set("input_ids", sequences.slice(1, past, length));
    if (attention_mask.defined()) call.set("attention_mask", padded ? attention_mask : Tensor());
    if (padded && takes(model, "position_ids")) call.set("position_ids", positions_of(attention_mask).slice(1, past));
    if (types.defined()) call.set("token_type_ids", types.slice(1, past));
    if (takes(model, "logits_to_keep")) call.set("logits_to_keep", int64_t{1});
    if (cache) call.set(cache_name, cache);
    if (!options.use_cache && takes(model, "use_cache")) call.set("use_cache", false);
    model.prepare_inputs_for_generation(call, past);

    const ModelOutput output = model.forward(call);
    const Tensor logits = output["logits"].select(1, output["logits"].size(1) - 1).to(at::kFloat);
    result.last_logits = logits;

    Tensor scores = logits;
    if (s.repetition_penalty != 1) {
      scores = scores.clone();
      penalise_repetition(scores, sequences.slice(1, 0, length), s.repetition_penalty);
    }
    if (step < s.min_new_tokens && !s.eos.empty()) {
      scores = scores.index_fill(1, at::tensor(s.eos), -std::numeric_limits<double>::infinity());
    }
    const Tensor next = s.do_sample ? at::multinomial(at::softmax(warp(scores, s), -1), 1, false, generator).squeeze(1)
                                    : scores.argmax(-1);

    std::vector<int64_t> ids(next.const_data_ptr<int64_t>(), next.const_data_ptr<int64_t>() + batch);
    for (size_t row = 0; row < ids.size(); ++row) {
      if (finished[row]) {
        ids[row] = s.pad.value_or(0);
      } else if (std::find(s.eos.begin(), s.eos.end(), ids[row]) != s.eos.end()) {
        finished[row] = true;
      }
    }
    if (length == sequences.size(1)) sequences = at::cat({sequences, at::empty({batch, length}, at::kLong)}, 1);
    for (int64_t row = 0; row < batch; ++row) sequences[row][length] = ids[static_cast<size_t>(row)];
    ++length;
    if (padded) attention_mask = at::cat({attention_mask, at::ones({batch, 1}, attention_mask.options())}, 1);
    if (types.defined()) types = at::cat({types, types.slice(1, -1)}, 1);
    if (step == 0) prefill_end = seconds();

    const bool wanted = !streamer || streamer->put(ids);
    if (!wanted || std::all_of(finished.begin(), finished.end(), [](bool row) { return row; })) {
      result.stopped = true;
      break;
    }
  }
  result.prefill_seconds = prefill_end - start;
  result.decode_seconds = seconds() - prefill_end;
  if (streamer) streamer->end();
  result.sequences = sequences.slice(1, 0, length).clone();
  return result;
}

Tensor PreTrainedModel::generate(const ModelInputs& inputs, const GenerateOptions& options, TokenStreamer* streamer) {
  return backplane::generate(*this, inputs, options, streamer).sequences;
}

}  // namespace backplane
