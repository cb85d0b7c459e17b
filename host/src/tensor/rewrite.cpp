#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/generation/generate.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct Arguments {
  ModelArguments model;
  std::vector<std::string> texts;
  std::string file, from, to;
  std::optional<std::string> prefix;
  std::optional<int64_t> max_new_tokens, num_beams;
  std::optional<double> length_penalty;

  void add_to(CLI::App& verb) {
    model.add_to(verb);
    verb.add_option("--file", file, "a file with a text a line");
    verb.add_option("--prefix", prefix, "what the model wants in front of each text (else as its config says)");
    verb.add_option("--max-new-tokens", max_new_tokens, "tokens to generate at most")
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
    verb.add_option("--num-beams", num_beams, "beams of the search; 1: greedy")->check(CLI::Range(1, 1024));
    verb.add_option("--length-penalty", length_penalty, "above 0: longer answers, below: shorter ones");
  }
};

// What config.json says of a task: its prefix and settings of generation.
const Value* task_of(const PretrainedConfig& config, const std::string& task) {
  return config.task_specific_params.find(task);
}

std::vector<std::string> texts_of(const Arguments& arguments, const char* verb) {
  auto texts = arguments.texts;
  if (!arguments.file.empty()) {
    const auto lines = read_lines(arguments.file);
    texts.insert(texts.end(), lines.begin(), lines.end());
  }
  if (texts.empty())
    throw Error(ErrorCode::usage, concat("nothing to ", verb, ": give texts, or a file with --file (a text a line)"));
  return texts;
}

GenerateOptions options_of(const PreTrainedModel& model, const Value* task, const Arguments& arguments) {
  GenerationConfig config = model.generation_config.value_or(GenerationConfig{});
  if (task && task->is_object()) {
    const auto number = [&](const char* key, auto& setting) {
      if (const Value* value = task->find(key); value && value->is_number())
        setting = static_cast<std::decay_t<decltype(*setting)>>(value->as_double());
    };
    number("max_length", config.max_length);
    number("min_length", config.min_length);
    number("num_beams", config.num_beams);
    number("length_penalty", config.length_penalty);
    number("no_repeat_ngram_size", config.no_repeat_ngram_size);
    if (const Value* early = task->find("early_stopping")) config.early_stopping = *early;
  }
  if (!arguments.max_new_tokens && !config.max_new_tokens && config.max_length == 20) config.max_new_tokens = 256;
  return {.max_new_tokens = arguments.max_new_tokens,
          .do_sample = false,
          .num_beams = arguments.num_beams,
          .length_penalty = arguments.length_penalty,
          .config = config};
}

void rewrite(const Arguments& arguments, const char* verb, const std::string& task_name, const char* key) {
  const auto texts = texts_of(arguments, verb);
  const Session session = open_session(Auto::ForSeq2SeqLM, arguments.model);
  const Value* task = task_of(session.model->config(), task_name);
  GenerateOptions options = options_of(*session.model, task, arguments);
  if (!arguments.to.empty()) {
    if (const auto language = session.tokenizer->token_to_id(arguments.to)) {
      options.config->forced_bos_token_id = *language;
    } else if (!task) {
      throw Error(ErrorCode::usage, concat("the model knows neither the token '", arguments.to, "' nor the task ",
                                           task_name, "; --to takes a language as the model writes it"));
    }
  }
  std::string prefix = arguments.prefix.value_or("");
  if (const Value* value = task ? task->find("prefix") : nullptr; value && value->is_string() && !arguments.prefix)
    prefix = value->as_string();

  for (const auto& text : texts) {
    const auto prompt = session.tokenizer->encode_ids(prefix + text);
    if (prompt.empty()) throw Error(ErrorCode::usage, concat("the text '", text, "' has no tokens"));
    const double start = now();
    const auto result = generate(*session.model, {{"input_ids", at::tensor(prompt).unsqueeze(0)}}, options);
    const Tensor made = result.sequences[0].slice(0, result.prompt_length).contiguous();
    const std::vector<int64_t> ids(made.const_data_ptr<int64_t>(), made.const_data_ptr<int64_t>() + made.size(0));
    const std::string answer = session.tokenizer->decode(ids, {.skip_special_tokens = true});
    if (!arguments.model.json) {
      std::cout << answer << std::endl;
      continue;
    }
    Json line = {{"text", text},
                 {"prompt_ids", prompt},
                 {"ids", ids},
                 {key, answer},
                 {"finish_reason", result.stopped ? "stop" : "length"},
                 {"load_s", session.load_seconds},
                 {"generate_s", now() - start}};
    if (result.sequences_scores.defined()) line["score"] = result.sequences_scores[0].item<double>();
    std::cout << python_dumps(line) << std::endl;
  }
}

}  // namespace

void add_translate(CLI::App& app) {
  auto* verb = app.add_subcommand("translate", "Translate texts with an encoder-decoder model");
  auto arguments = std::make_shared<Arguments>();
  arguments->add_to(*verb);
  verb->add_option("--from", arguments->from, "the language of the texts, as the model writes it (en)");
  verb->add_option("--to", arguments->to, "the language to translate to (de, de_DE, __de__)");
  verb->add_option("TEXT", arguments->texts, "texts to translate");
  verb->callback([arguments] {
    rewrite(*arguments, "translate", concat("translation_", arguments->from, "_to_", arguments->to),
            "translation_text");
  });
}

void add_summarize(CLI::App& app) {
  auto* verb = app.add_subcommand("summarize", "Summarize texts with an encoder-decoder model");
  auto arguments = std::make_shared<Arguments>();
  arguments->add_to(*verb);
  verb->add_option("TEXT", arguments->texts, "texts to summarize");
  verb->callback([arguments] { rewrite(*arguments, "summarize", "summarization", "summary_text"); });
}

}  // namespace backplane::cli
