#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/generation/generate.h"
#include "tensor/generation_arguments.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct Arguments {
  ModelArguments model;
  GenerationArguments generation;
  std::string prompt;
};

void run(const Arguments& arguments) {
  std::string prompt = arguments.prompt;
  if (prompt.empty()) prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  const Session session = open_session(Auto::ForCausalLM, arguments.model);
  const auto prompt_ids = session.tokenizer->encode_ids(prompt);
  if (prompt_ids.empty())
    throw Error(ErrorCode::usage, "the prompt is empty; give a PROMPT, or text on standard input");

  TextOut out(session.tokenizer, !arguments.model.json);
  const Answer answer = answer_prompt(*session.model, *session.tokenizer, prompt_ids, arguments.generation, &out);
  if (!arguments.model.json) {
    std::cout << std::endl;
    std::cerr << concat(answer.ids.size(), " tokens, ", static_cast<int>(answer.decode_rate), " a second\n");
    return;
  }
  std::cout << python_dumps({{"prompt_ids", prompt_ids},
                             {"ids", answer.ids},
                             {"text", session.tokenizer->decode(answer.ids, {.skip_special_tokens = true})},
                             {"finish_reason", answer.stopped ? "stop" : "length"},
                             {"load_s", session.load_seconds},
                             {"prefill_tok_s", answer.prefill_rate},
                             {"decode_tok_s", answer.decode_rate}})
            << std::endl;
}

}  // namespace

void add_run(CLI::App& app) {
  auto* verb = app.add_subcommand("run", "Continue a prompt, streaming; the prompt is taken as it is");
  auto arguments = std::make_shared<Arguments>();
  arguments->model.add_to(*verb);
  arguments->generation.add_to(*verb);
  verb->add_option("PROMPT", arguments->prompt, "the text to continue (else standard input)");
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace backplane::cli
