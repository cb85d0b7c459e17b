#include "backplane/generation/generate.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/config/lookup.h"
#include "backplane/text/tokenizer.h"
#include "generation/beam_search.h"
#include "generation/stepper.h"
#include "generation/stopping.h"

namespace backplane {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class Setting, class T>
void override_with(Setting& setting, const std::optional<T>& value) {
  if (value) setting = *value;
}

// The model's generation_config with the call's options over it.
GenerationConfig settings_of(const PreTrainedModel& model, const GenerateOptions& options) {
  GenerationConfig c = options.config ? *options.config : model.generation_config.value_or(GenerationConfig{});
  override_with(c.max_new_tokens, options.max_new_tokens);
  override_with(c.min_new_tokens, options.min_new_tokens);
  override_with(c.do_sample, options.do_sample);
  override_with(c.temperature, options.temperature);
  override_with(c.top_k, options.top_k);
  override_with(c.top_p, options.top_p);
  override_with(c.min_p, options.min_p);
  override_with(c.repetition_penalty, options.repetition_penalty);
  override_with(c.num_beams, options.num_beams);
  override_with(c.num_return_sequences, options.num_return_sequences);
  override_with(c.length_penalty, options.length_penalty);
  override_with(c.pad_token_id, options.pad_token_id);
  if (options.eos_token_id) {
    c.eos_token_id = Value();
    if (!options.eos_token_id->empty())
      c.eos_token_id = Value::List(options.eos_token_id->begin(), options.eos_token_id->end());
  }
  if (options.max_length) {
    c.max_length = options.max_length;
    if (!options.max_new_tokens) c.max_new_tokens.reset();
  }
  return c;
}

[[noreturn]] void refuse(const std::string& what, const std::string& expected) {
  throw Error(ErrorCode::invalid_value, concat(what, "; expected ", expected));
}

void check(const GenerationConfig& c) {
  if (c.max_new_tokens && *c.max_new_tokens <= 0)
    refuse(concat("max_new_tokens is ", *c.max_new_tokens), "a number above 0");
  if (c.top_k.value_or(0) < 0) refuse(concat("top_k is ", *c.top_k), "0 (off) or more");
  if (c.do_sample && !std::isfinite(c.temperature.value_or(1)))
    refuse(concat("temperature is ", *c.temperature), "a number above 0");
  if (!std::isfinite(c.repetition_penalty.value_or(1)))
    refuse(concat("repetition_penalty is ", *c.repetition_penalty), "a number above 0");
  const int64_t beams = c.num_beams.value_or(1), sequences = c.num_return_sequences.value_or(1);
  if (beams < 1 || beams > 1024) refuse(concat("num_beams is ", beams), "a number from 1 to 1024");
  if (sequences < 1 || sequences > 1024)
    refuse(concat("num_return_sequences is ", sequences), "a number from 1 to 1024");
  if (beams > 1 && sequences > beams)
    refuse(concat("num_return_sequences is ", sequences), concat("at most num_beams (", beams, ")"));
  if (beams == 1 && sequences > 1 && !c.do_sample)
    refuse(concat("num_return_sequences is ", sequences), "1, since greedy search finds one sequence");
  const std::pair<const char*, bool> absent[] = {
      {"num_beam_groups", c.num_beam_groups.value_or(1) > 1},
      {"constraints", !c.constraints.is_null()},
      {"force_words_ids", !c.force_words_ids.is_null()},
      {"penalty_alpha", c.penalty_alpha.value_or(0) > 0 && !c.do_sample && c.top_k.value_or(0) > 1},
      {"dola_layers", !c.dola_layers.is_null()},
      {"guidance_scale", c.guidance_scale.value_or(1) != 1},
      {"watermarking_config", !c.watermarking_config.is_null()},
      {"token_healing", c.token_healing}};
  for (const auto& [key, is_set] : absent) {
    if (is_set) {
      throw Error(ErrorCode::invalid_value, concat("the generation settings have ", key,
                                                   ", which generate does not do; unset it for greedy "
                                                   "search, sampling or beam search"));
    }
  }
}

// Prompt and new tokens together. A model-agnostic default counts new tokens alone, within the model's positions.
int64_t max_length_of(const GenerationConfig& c, const GenerateOptions& options, const PretrainedConfig& config,
                      int64_t prompt) {
  int64_t length = c.max_length.value_or(20);
  if (c.max_new_tokens) {
    if (*c.max_new_tokens > std::numeric_limits<int64_t>::max() - prompt)
      refuse(concat("max_new_tokens is ", *c.max_new_tokens), "a smaller number");
    length = prompt + *c.max_new_tokens;
  } else if (!options.max_length && length == 20) {
    length += prompt;
    length = std::min(length, find_number(config, "max_position_embeddings").value_or(length));
  }
  if (length <= prompt) {
    throw Error(ErrorCode::invalid_value, concat("the prompt has ", prompt, " tokens and max_length is ", length,
                                                 ", so nothing is left to generate; set max_new_tokens"));
  }
  return length;
}

// 1 where an id is no padding, if that can be told from an end.
Tensor inferred_mask(const Tensor& ids, std::optional<int64_t> pad, const std::vector<int64_t>& eos) {
  if (!pad || std::find(eos.begin(), eos.end(), *pad) != eos.end()) return {};
  const Tensor mask = ids != *pad;
  return mask.all().item<bool>() ? Tensor() : mask.to(at::kLong);
}

// What the decoder begins with: [batch, seq].
Tensor decoder_prompt(const ModelInputs& inputs, const GenerationConfig& c, bool prepend, int64_t batch) {
  const Tensor given = inputs.tensor("decoder_input_ids");
  if (given.defined() && !prepend) return given;
  const Value& setting = c.decoder_start_token_id.is_null() ? c.bos_token_id : c.decoder_start_token_id;
  const auto starts = setting.as_int_list();
  if (starts.empty()) {
    if (given.defined()) return given;
    throw Error(ErrorCode::invalid_value,
                "the decoder has nothing to begin with; set decoder_start_token_id or give decoder_input_ids");
  }
  if (starts.size() != 1 && static_cast<int64_t>(starts.size()) != batch) {
    throw Error(ErrorCode::invalid_value, concat("decoder_start_token_id has ", starts.size(), " ids for a batch of ",
                                                 batch, "; give one, or one a row"));
  }
  const Tensor start = at::tensor(starts).unsqueeze(1).expand({batch, 1}).contiguous();
  if (!given.defined()) return start;
  return (given.slice(1, 0, 1) != start).all().item<bool>() ? at::cat({start, given}, 1) : given;
}

int64_t batch_of(const ModelInputs& inputs) {
  for (const auto& [name, value] : inputs) {
    if (const auto* tensor = std::get_if<Tensor>(&value); tensor && tensor->dim() > 0) return tensor->size(0);
    if (const auto* tuple = std::get_if<std::vector<Tensor>>(&value); tuple && name == "encoder_outputs")
      return tuple->front().size(0);
  }
  throw Error(ErrorCode::invalid_value, "there is nothing to generate from: give input_ids");
}

void check_prompt(const Tensor& prompt) {
  if (prompt.dim() != 2 || prompt.size(0) == 0 || prompt.size(1) == 0) {
    throw Error(ErrorCode::invalid_value,
                concat("input_ids has the shape ", prompt.sizes(), "; expected [batch, seq] with at least one token"));
  }
}

// Puts the decoder's ids in their place and returns them; `inputs` keeps what the model gets beside them.
Tensor take_prompt(const PreTrainedModel& model, ModelInputs& inputs, const GenerationConfig& c,
                   const GenerateOptions& options) {
  if (!takes(model, "decoder_input_ids")) {
    if (!inputs.contains("input_ids") && inputs.contains("inputs_embeds"))
      return at::empty({inputs["inputs_embeds"].size(0), 0}, at::kLong);
    const Tensor prompt = inputs["input_ids"];
    check_prompt(prompt);
    return prompt;
  }
  if (inputs.contains("input_ids") && !takes(model, "input_ids")) {
    inputs.set("decoder_input_ids", inputs["input_ids"]);
    inputs.set("input_ids", Tensor());
  }
  if (const Tensor ids = inputs.tensor("input_ids"); ids.defined()) check_prompt(ids);
  const int64_t given = inputs.contains("decoder_input_ids") ? inputs["decoder_input_ids"].size(1) : 0;
  const Tensor prompt = decoder_prompt(inputs, c, options.prepend_decoder_start, batch_of(inputs));
  if (const Tensor mask = inputs.tensor("decoder_attention_mask"); mask.defined() && prompt.size(1) == given + 1)
    inputs.set("decoder_attention_mask", at::cat({at::ones_like(mask.slice(1, 0, 1)), mask}, 1));
  return prompt;
}

StoppingCriteria stopping_of(const GenerationConfig& c, const GenerateOptions& options, std::vector<int64_t> eos,
                             int64_t max_length) {
  StoppingCriteria stopping{std::move(eos), max_length, {}, options.tokenizer, std::nullopt};
  if (c.stop_strings.is_string()) stopping.stop_strings = {c.stop_strings.as_string()};
  if (c.stop_strings.is_list()) {
    for (const auto& text : c.stop_strings.as_list()) stopping.stop_strings.push_back(text.as_string());
  }
  std::erase(stopping.stop_strings, "");
  if (!stopping.stop_strings.empty() && !stopping.tokenizer)
    throw Error(ErrorCode::invalid_value, "stop_strings need the tokenizer: set GenerateOptions::tokenizer");
  if (c.max_time) {
    const std::chrono::duration<double> time(std::clamp(*c.max_time, 0.0, 1e9));
    stopping.deadline =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
  }
  return stopping;
}

struct Search {
  Stepper& stepper;
  const SearchSettings& settings;
  const LogitsProcessorList& processors;
  const StoppingCriteria& stopping;
};

// Greedy search and sampling.
GenerateResult sample(const Search& search, const Tensor& prompt, TokenStreamer* streamer) {
  const auto& [stepper, settings, processors, stopping] = search;
  const int64_t copies = settings.num_return_sequences, rows = prompt.size(0) * copies;
  GenerateResult result;
  const double start = seconds();
  Tensor logits = stepper.next(prompt);
  if (copies > 1) {
    logits = logits.repeat_interleave(copies, 0);
    stepper.expand(copies);
  }
  int64_t length = prompt.size(1);
  // Room for a reasonable answer at once; it grows beyond.
  Tensor sequences = at::empty({rows, length + std::min<int64_t>(stopping.max_length - length, 1024)}, at::kLong);
  sequences.slice(1, 0, length).copy_(prompt.repeat_interleave(copies, 0));
  Tensor finished = at::zeros({rows}, at::kBool);
  double prefill_end = 0;
  for (;;) {
    result.last_logits = logits;
    const Tensor so_far = sequences.slice(1, 0, length);
    Tensor scores = logits;
    for (const auto& processor : processors) scores = processor(so_far, scores);
    Tensor next = settings.do_sample ? at::multinomial(at::softmax(scores, -1), 1, false, settings.generator).squeeze(1)
                                     : scores.argmax(-1);
    if (!stopping.eos.empty()) next = next.masked_fill(finished, settings.pad.value_or(0));
    if (length == sequences.size(1)) sequences = at::cat({sequences, at::empty({rows, length}, at::kLong)}, 1);
    sequences.select(1, length).copy_(next);
    ++length;
    if (prefill_end == 0) prefill_end = seconds();

    finished = finished.logical_or(stopping.ended(sequences.slice(1, 0, length)));
    const std::vector<int64_t> ids(next.const_data_ptr<int64_t>(), next.const_data_ptr<int64_t>() + rows);
    const bool wanted = !streamer || streamer->put(ids);
    result.stopped = !wanted || finished.all().item<bool>();
    if (result.stopped || stopping.exhausted(length)) break;
    logits = stepper.next(sequences.slice(1, 0, length));
  }
  result.prefill_seconds = prefill_end - start;
  result.decode_seconds = seconds() - prefill_end;
  if (streamer) streamer->end();
  result.sequences = sequences.slice(1, 0, length).clone();
  return result;
}

}  // namespace

GenerateResult generate(PreTrainedModel& model, const ModelInputs& given, const GenerateOptions& options,
                        TokenStreamer* streamer) {
  if (!model.can_generate()) {
    throw Error(ErrorCode::invalid_value, concat(model.name(),
                                                 " cannot generate; load the model through "
                                                 "AutoModelForCausalLM or AutoModelForSeq2SeqLM"));
  }
  GenerationConfig c = settings_of(model, options);
  check(c);
  ModelInputs inputs = given;
  const Tensor prompt = take_prompt(model, inputs, c, options);
  const auto eos = c.eos_token_id.as_int_list();
  if (!c.pad_token_id && !eos.empty()) c.pad_token_id = eos.front();
  const Tensor ids = inputs.tensor("input_ids");
  if (ids.defined() && !inputs.contains("attention_mask") && takes(model, "attention_mask"))
    inputs.set("attention_mask", inferred_mask(ids, c.pad_token_id, eos));

  const int64_t max_length = max_length_of(c, options, model.config(), prompt.size(1));
  if (c.min_new_tokens) c.min_length = prompt.size(1) + *c.min_new_tokens;
  const auto processors = make_logits_processors(c, {prompt.size(1), max_length, eos, ids}, options.logits_processors);
  const auto stopping = stopping_of(c, options, eos, max_length);
  SearchSettings settings{.do_sample = c.do_sample,
                          .num_beams = c.num_beams.value_or(1),
                          .num_return_sequences = c.num_return_sequences.value_or(1),
                          .length_penalty = c.length_penalty.value_or(1),
                          .early_stopping = c.early_stopping == Value(true),
                          .until_hopeless = c.early_stopping == Value("never"),
                          .pad = c.pad_token_id};
  if (options.seed) settings.generator = at::detail::createCPUGenerator(*options.seed);
  if (settings.num_beams > 1 && streamer)
    throw Error(ErrorCode::invalid_value, "beam search has no certain token to stream; set num_beams to 1");

  c10::InferenceMode guard;
  const int64_t room = prompt.size(1) + std::min<int64_t>(max_length - prompt.size(1), 1024);
  Stepper stepper(model, inputs, options.use_cache, room);
  const double start = seconds();
  GenerateResult result;
  if (settings.num_beams > 1) {
    result = beam_search(stepper, prompt, settings, processors, stopping);
    result.decode_seconds = seconds() - start;
  } else {
    result = sample({stepper, settings, processors, stopping}, prompt, streamer);
  }
  result.prompt_length = prompt.size(1);
  return result;
}

Tensor PreTrainedModel::generate(const ModelInputs& inputs, const GenerateOptions& options, TokenStreamer* streamer) {
  return backplane::generate(*this, inputs, options, streamer).sequences;
}

}  // namespace backplane
