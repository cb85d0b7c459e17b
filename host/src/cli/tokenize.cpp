#include <chrono>
#include <cstdio>
#include <iostream>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/host/auto_tokenizer.h"
#include "cli/verbs.h"

namespace backplane::cli {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct TokenizeArguments {
  std::string model;
  std::string text;
  std::optional<std::string> revision;
  std::optional<std::string> pair;
  bool no_special_tokens = false;
  bool json = false;
};

void run_tokenize(const TokenizeArguments& arguments) {
  PretrainedOptions options;
  if (arguments.revision) options.revision = *arguments.revision;
  const auto tokenizer = AutoTokenizer::from_pretrained(arguments.model, options);
  EncodeOptions encode;
  encode.add_special_tokens = !arguments.no_special_tokens;
  const Encoding encoding = arguments.pair ? tokenizer->encode_pair(arguments.text, *arguments.pair, encode)
                                           : tokenizer->encode(arguments.text, encode);
  if (arguments.json) {
    Json offsets = Json::array();
    for (const auto& [begin, end] : encoding.offsets) offsets.push_back({begin, end});
    std::cout << python_dumps({{"ids", encoding.ids},
                               {"tokens", encoding.tokens},
                               {"offsets", offsets},
                               {"attention_mask", encoding.attention_mask},
                               {"special_tokens_mask", encoding.special_tokens_mask},
                               {"type_ids", encoding.type_ids}})
              << std::endl;
    return;
  }
  for (size_t i = 0; i < encoding.size(); ++i) {
    std::printf("%8lld  %4lld-%-4lld  %s\n", static_cast<long long>(encoding.ids[i]),
                static_cast<long long>(encoding.offsets[i].first), static_cast<long long>(encoding.offsets[i].second),
                encoding.tokens[i].c_str());
  }
}

struct BenchArguments {
  std::string model;
  std::string file;
  int threads = 1;
  bool json = false;
};

void run_bench(const BenchArguments& arguments) {
  const auto tokenizer = AutoTokenizer::from_pretrained(arguments.model);
  const std::string text = read_file(arguments.file, uint64_t{1} << 30);
  const std::vector<std::string> lines = split(text, '\n');
  EncodeOptions encode;
  encode.details = false;
  encode.threads = arguments.threads;
  size_t tokens = 0;
  double best = 1e300;
  const double start = now();
  for (int round = 0; round < 20 && (round < 3 || now() - start < 2); ++round) {
    const double begin = now();
    tokens = 0;
    if (arguments.threads == 1) {
      for (const auto& line : lines) tokens += tokenizer->encode_ids(line).size();
    } else {
      for (const auto& encoding : tokenizer->encode_batch(lines, encode).encodings) tokens += encoding.size();
    }
    best = std::min(best, now() - begin);
  }
  const double rate = static_cast<double>(text.size()) / 1e6 / best, token_rate = static_cast<double>(tokens) / best;
  if (arguments.json) {
    std::cout << python_dumps({{"mb_s", rate}, {"tokens_s", token_rate}}) << std::endl;
  } else {
    std::printf("%.1f MB/s, %.0f tokens/s (best of several rounds over %zu lines)\n", rate, token_rate, lines.size());
  }
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto* verb = app.add_subcommand("tokenize", "Show the tokens of a text: ids, places, strings");
  auto arguments = std::make_shared<TokenizeArguments>();
  verb->add_option("MODEL", arguments->model, "a model folder, a .gguf file, or the id of a hub repository")
      ->required();
  verb->add_option("TEXT", arguments->text, "the text")->required();
  verb->add_option("--pair", arguments->pair, "a second text, encoded as the pair of the first");
  verb->add_option("--revision", arguments->revision, "branch, tag or commit of a hub repository");
  verb->add_flag("--no-special-tokens", arguments->no_special_tokens,
                 "without the tokens that the model wants around a text");
  verb->add_flag("--json", arguments->json, "machine-readable output");
  verb->callback([arguments] { run_tokenize(*arguments); });
}

void add_bench_tokenize(CLI::App& bench) {
  auto* verb = bench.add_subcommand("tokenize", "Megabytes of text tokenized a second");
  auto arguments = std::make_shared<BenchArguments>();
  verb->add_option("MODEL", arguments->model, "a model folder, a .gguf file, or the id of a hub repository")
      ->required();
  verb->add_option("--file", arguments->file, "the text; each line is a text of its own")->required();
  verb->add_option("--threads", arguments->threads, "threads for a batch of all lines")->check(CLI::Range(1, 1024));
  verb->add_flag("--json", arguments->json, "machine-readable output");
  verb->callback([arguments] { run_bench(*arguments); });
}

}  // namespace backplane::cli
