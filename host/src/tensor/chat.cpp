#include <unistd.h>

#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/text/chat_template.h"
#include "tensor/generation_arguments.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct Arguments {
  ModelArguments model;
  GenerationArguments generation;
  std::string message;
  std::string system;
  bool parse_special = false;
};

// What the user said stays text, even where it spells a special token; the template's own tokens are found.
std::vector<int64_t> prompt_of(const Tokenizer& tokenizer, const RenderedChat& chat, bool parse_special) {
  EncodeOptions options{.add_special_tokens = false, .details = false};
  for (const auto& part : chat.parts)
    if (part.from_user && !parse_special) options.plain_spans.emplace_back(part.begin, part.end);
  return tokenizer.encode(chat.text, options).ids;
}

ChatTemplate template_of(const Tokenizer& tokenizer, const std::string& model) {
  Json sources = Json::object();
  for (const auto& [name, source] : tokenizer.chat_templates()) sources[name] = source;
  if (sources.empty()) {
    throw Error(ErrorCode::bad_template,
                concat("'", model, "' has no chat template; use 'backplane run', which takes the prompt as it is"));
  }
  return ChatTemplate(sources);
}

ChatTemplateOptions template_options(const Tokenizer& tokenizer) {
  ChatTemplateOptions options;
  options.add_generation_prompt = true;
  for (const auto& [name, token] : tokenizer.special_tokens_map()) options.special_tokens[name + "_token"] = token;
  return options;
}

void run(const Arguments& arguments) {
  const Session session = open_session(Auto::ForCausalLM, arguments.model);
  const ChatTemplate chat_template = template_of(*session.tokenizer, arguments.model.model);
  const ChatTemplateOptions options = template_options(*session.tokenizer);
  const bool interactive = arguments.message.empty() && ::isatty(STDIN_FILENO);
  Json messages = Json::array();
  if (!arguments.system.empty()) messages.push_back({{"role", "system"}, {"content", arguments.system}});

  if (interactive) std::cerr << "an empty line ends the chat\n";
  std::string said = arguments.message;
  while (true) {
    if (arguments.message.empty()) {
      if (interactive) std::cerr << "> " << std::flush;
      if (!std::getline(std::cin, said) || said.empty()) return;
    }
    messages.push_back({{"role", "user"}, {"content", said}});
    const auto prompt_ids = prompt_of(*session.tokenizer, chat_template.apply(messages, options), arguments.parse_special);
    TextOut out(session.tokenizer, !arguments.model.json);
    const Answer answer = answer_prompt(*session.model, *session.tokenizer, prompt_ids, arguments.generation, &out);
    const std::string text = session.tokenizer->decode(answer.ids, {.skip_special_tokens = true});
    if (arguments.model.json) {
      std::cout << python_dumps({{"prompt_ids", prompt_ids},
                                 {"ids", answer.ids},
                                 {"text", text},
                                 {"finish_reason", answer.stopped ? "stop" : "length"},
                                 {"load_s", session.load_seconds},
                                 {"prefill_tok_s", answer.prefill_rate},
                                 {"decode_tok_s", answer.decode_rate}});
    }
    std::cout << std::endl;
    messages.push_back({{"role", "assistant"}, {"content", text}});
    if (!arguments.message.empty()) return;
  }
}

}  // namespace

void add_chat(CLI::App& app) {
  auto* verb = app.add_subcommand("chat", "Talk with a model through its chat template");
  auto arguments = std::make_shared<Arguments>();
  arguments->model.add_to(*verb);
  arguments->generation.add_to(*verb);
  verb->add_option("MESSAGE", arguments->message, "one message; without it, a line of standard input each");
  verb->add_option("--system", arguments->system, "the system message");
  verb->add_flag("--parse-special", arguments->parse_special, "special tokens in messages count; otherwise they are plain text");
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace backplane::cli
