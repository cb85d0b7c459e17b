// chat MODEL MESSAGE: one answer, printed while it is made.
#include <backplane/backplane.h>

#include <exception>
#include <iostream>

namespace bp = backplane;

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: chat MODEL MESSAGE\n";
    return 2;
  }
  auto tokenizer = bp::AutoTokenizer::from_pretrained(argv[1]);
  auto model = bp::AutoModelForCausalLM::from_pretrained(argv[1], {.torch_dtype = "bfloat16"});

  bp::ChatTemplateOptions options;
  options.add_generation_prompt = true;
  for (const auto& [name, token] : tokenizer->special_tokens_map()) options.special_tokens[name + "_token"] = token;
  const bp::ChatTemplate chat_template(bp::Json(tokenizer->chat_templates()));
  const auto prompt = chat_template.apply({{{"role", "user"}, {"content", argv[2]}}}, options);

  const auto inputs = tokenizer->encode_batch({prompt.text}, {.add_special_tokens = false}).tensors();
  bp::TextStreamer streamer(tokenizer, std::cout);
  bp::generate(*model, inputs, {.max_new_tokens = 128, .do_sample = false}, &streamer);
  std::cout << "\n";
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
