#include <charconv>
#include <cstdio>
#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/host/embedding.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct Arguments {
  ModelArguments model;
  std::vector<std::string> texts;
  std::string file;
  Pooling pooling = Pooling::mean;
  bool normalize = false;
  int64_t batch = 32;
};

// Shortest decimal that reads back as the same float32.
std::string numbers(const Tensor& row) {
  std::string text = "[";
  char digits[32];
  for (int64_t i = 0; i < row.size(0); ++i) {
    if (i > 0) text += ", ";
    text.append(digits, std::to_chars(digits, digits + sizeof digits, row.const_data_ptr<float>()[i]).ptr);
  }
  return text + "]";
}

void print_table(const std::vector<std::string>& texts, const Tensor& vectors) {
  for (size_t i = 0; i < texts.size(); ++i) {
    const Tensor row = vectors[static_cast<int64_t>(i)].contiguous();
    std::printf("%2zu  %s\n    %lld numbers: %s …\n", i + 1, texts[i].c_str(), static_cast<long long>(row.size(0)),
                numbers(row.slice(0, 0, 6)).c_str());
  }
  if (texts.size() < 2 || texts.size() > 20) return;
  const Tensor unit = vectors / vectors.norm(2, -1, true).clamp_min(1e-12);
  const Tensor similarity = at::matmul(unit, unit.t()).contiguous();
  std::printf("\ncosine similarity\n    ");
  for (size_t i = 0; i < texts.size(); ++i) std::printf("%7zu", i + 1);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::printf("\n%4zu", i + 1);
    for (size_t j = 0; j < texts.size(); ++j) {
      std::printf("%7.3f", static_cast<double>(similarity.const_data_ptr<float>()[i * texts.size() + j]));
    }
  }
  std::printf("\n");
}

void run(const Arguments& arguments) {
  auto texts = arguments.texts;
  if (!arguments.file.empty()) {
    const auto lines = read_lines(arguments.file);
    texts.insert(texts.end(), lines.begin(), lines.end());
  }
  if (texts.empty())
    throw Error(ErrorCode::usage, "nothing to embed: give texts, or a file with --file (a text a line)");
  const Session session = open_session(Auto::Model, arguments.model);
  std::vector<std::vector<int64_t>> ids;
  const Tensor vectors = embed_texts(
      *session.model, *session.tokenizer, texts,
      {.pooling = arguments.pooling, .normalize = arguments.normalize, .batch_size = arguments.batch}, &ids);
  if (!arguments.model.json) return print_table(texts, vectors);
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = python_dumps(Json(texts[i])), id_list = python_dumps(Json(ids[i]));
    std::cout << "{\"text\": " << text << ", \"ids\": " << id_list
              << ", \"embedding\": " << numbers(vectors[static_cast<int64_t>(i)].contiguous()) << "}\n";
  }
}

}  // namespace

void add_embed(CLI::App& app) {
  auto* verb = app.add_subcommand("embed", "Turn texts into vectors with an encoder such as BERT");
  auto arguments = std::make_shared<Arguments>();
  arguments->model.add_to(*verb);
  verb->add_option("TEXT", arguments->texts, "texts to embed");
  verb->add_option("--file", arguments->file, "a file with a text a line");
  const std::map<std::string, Pooling> poolings = {
      {"mean", Pooling::mean}, {"cls", Pooling::cls}, {"last", Pooling::last}};
  verb->add_option("--pooling", arguments->pooling, "how a text's tokens become one vector")
      ->transform(CLI::CheckedTransformer(poolings))
      ->option_text("mean|cls|last");
  verb->add_flag("--normalize", arguments->normalize, "scale the vectors to length 1");
  verb->add_option("--batch", arguments->batch, "texts in one forward pass")->check(CLI::Range(1, 65536));
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace backplane::cli
