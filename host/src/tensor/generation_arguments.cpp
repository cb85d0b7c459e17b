#include "tensor/generation_arguments.h"

#include <iostream>

namespace backplane::cli {

void GenerationArguments::add_to(CLI::App& app) {
  app.add_option("--max-new-tokens", max_new_tokens, "tokens to generate at most")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  app.add_option("--temperature", temperature, "sample, with the scores divided by this");
  app.add_option("--top-k", top_k, "sample among the k likeliest tokens");
  app.add_option("--top-p", top_p, "sample among the likeliest tokens that make up this share");
  app.add_option("--min-p", min_p, "sample among tokens at least this likely, relative to the likeliest");
  app.add_option("--repetition-penalty", repetition_penalty, "above 1: rather not the tokens that occurred");
  app.add_option("--seed", seed, "of sampling");
  app.add_flag("--greedy", greedy, "always the likeliest token");
  app.add_flag("--ignore-eos", ignore_eos, "go on after an end token");
}

GenerateOptions GenerationArguments::options() const {
  GenerateOptions options{.max_new_tokens = max_new_tokens,
                          .temperature = temperature,
                          .top_k = top_k,
                          .top_p = top_p,
                          .min_p = min_p,
                          .repetition_penalty = repetition_penalty,
                          .seed = seed};
  if (greedy) {
    options.do_sample = false;
  } else if (temperature || top_k || top_p || min_p || seed) {
    options.do_sample = true;
  }
  if (ignore_eos) options.eos_token_id = std::vector<int64_t>{};
  return options;
}

bool TextOut::put(const std::vector<int64_t>& ids) {
  const auto text = stream_.step(ids.front());
  if (print_ && text) std::cout << *text << std::flush;
  return true;
}

void TextOut::end() {
  const std::string rest = stream_.finish();
  if (print_) std::cout << rest << std::flush;
}

Answer answer_prompt(PreTrainedModel& model, const Tokenizer& tokenizer, const std::vector<int64_t>& prompt_ids,
                     const GenerationArguments& arguments, TokenStreamer* streamer) {
  GenerateOptions options = arguments.options();
  const bool knows_end = model.generation_config && !model.generation_config->eos_token_id.is_null();
  if (!options.eos_token_id && !knows_end && tokenizer.eos_token_id())
    options.eos_token_id = std::vector<int64_t>{*tokenizer.eos_token_id()};
  const auto count = static_cast<int64_t>(prompt_ids.size());
  const auto result = generate(model, {{"input_ids", at::tensor(prompt_ids).unsqueeze(0)}}, options, streamer);
  const Tensor made = result.sequences[0].slice(0, count).contiguous();
  Answer answer;
  answer.ids.assign(made.const_data_ptr<int64_t>(), made.const_data_ptr<int64_t>() + made.size(0));
  answer.stopped = result.stopped;
  answer.prefill_rate = static_cast<double>(count) / std::max(result.prefill_seconds, 1e-9);
  if (made.size(0) > 1)
    answer.decode_rate = static_cast<double>(made.size(0) - 1) / std::max(result.decode_seconds, 1e-9);
  return answer;
}

}  // namespace backplane::cli
