#include <sys/resource.h>

#include <cstdio>
#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/generation/generate.h"
#include "backplane/host/embedding.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

struct GenerationBench {
  ModelArguments model;
  int64_t prompt_tokens = 128, new_tokens = 64, batch = 1;
};

struct EmbeddingBench {
  ModelArguments model;
  std::string file;
  int64_t batch = 32;
};

double peak_rss_mb() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// Bytes a second that one thread reads from memory: the ceiling of decoding, where every weight is read for every
// token.
double read_bandwidth() {
  const Tensor block = at::ones({64 << 20});  // 256 MB, beyond the caches
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    const double start = now();
    const volatile float sum = block.sum().item<float>();
    (void)sum;
    best = std::max(best, static_cast<double>(block.nbytes()) / (now() - start));
  }
  return best;
}

// Floating-point operations a second of a matrix product in the model's dtype: the ceiling of prompts and encoders.
double product_rate(at::ScalarType dtype) {
  const Tensor a = at::ones({512, 2048}, dtype), b = at::ones({2048, 2048}, dtype);
  double best = 0;
  for (int i = 0; i < 3; ++i) {
    const double start = now();
    at::linear(a, b);
    best = std::max(best, 2.0 * 512 * 2048 * 2048 / (now() - start));
  }
  return best;
}

double parameter_count(const PreTrainedModel& model) {
  double count = 0;
  std::set<const void*> seen;  // tied parameters are read once
  for (const auto& parameter : model.parameters()) {
    if (seen.insert(parameter.unsafeGetTensorImpl()).second) count += static_cast<double>(parameter.numel());
  }
  return count;
}

void run_generation(const GenerationBench& arguments) {
  const Session session = open_session(Auto::ForCausalLM, arguments.model);
  auto& model = *session.model;
  const int64_t vocabulary = std::max<int64_t>(2, session.tokenizer->vocab_size());
  const Tensor prompt =
      at::randint(vocabulary, {arguments.batch, arguments.prompt_tokens}, at::detail::createCPUGenerator(0));
  const GenerateOptions options{
      .max_new_tokens = arguments.new_tokens, .do_sample = false, .eos_token_id = std::vector<int64_t>{}};
  generate(model, {{"input_ids", prompt}},
           {.max_new_tokens = 2, .do_sample = false, .eos_token_id = std::vector<int64_t>{}});  // pages in the weights
  const auto result = generate(model, {{"input_ids", prompt}}, options);
  const auto batch = static_cast<double>(arguments.batch);
  const double prefill = batch * static_cast<double>(arguments.prompt_tokens) / result.prefill_seconds;
  const double decode =
      arguments.new_tokens > 1 ? batch * static_cast<double>(arguments.new_tokens - 1) / result.decode_seconds : 0;
  if (arguments.model.json) {
    std::cout << python_dumps({{"load_s", session.load_seconds},
                               {"prefill_tok_s", prefill},
                               {"decode_tok_s", decode},
                               {"peak_rss_mb", peak_rss_mb()}})
              << std::endl;
    return;
  }
  const double parameters = parameter_count(model),
               bytes = parameters * static_cast<double>(c10::elementSize(model.dtype()));
  std::printf("                        measured     limit\n");
  std::printf("load                  %8.3f s\n", session.load_seconds);
  std::printf("prompt of %4lld tokens  %8.1f %9.1f tokens/s (of this machine's matrix product)\n",
              static_cast<long long>(arguments.prompt_tokens), prefill, product_rate(model.dtype()) / (2 * parameters));
  std::printf(
      "decoding              %8.1f %9.1f tokens/s (%.0f MB of weights a token at this machine's read bandwidth)\n",
      decode, batch * read_bandwidth() / bytes, bytes / 1e6);
  std::printf("peak memory           %8.0f MB\n", peak_rss_mb());
}

void run_embedding(const EmbeddingBench& arguments) {
  const auto texts = read_lines(arguments.file);
  if (texts.empty()) throw Error(ErrorCode::usage, concat("'", arguments.file, "' has no lines"));
  const Session session = open_session(Auto::Model, arguments.model);
  const EmbeddingOptions options{.batch_size = arguments.batch};
  embed_texts(*session.model, *session.tokenizer, {texts.front()}, options);
  const double start = now();
  std::vector<std::vector<int64_t>> ids;
  embed_texts(*session.model, *session.tokenizer, texts, options, &ids);
  const double elapsed = now() - start, rate = static_cast<double>(texts.size()) / elapsed;
  if (arguments.model.json) {
    std::cout << python_dumps({{"sentences_s", rate}, {"load_s", session.load_seconds}, {"peak_rss_mb", peak_rss_mb()}})
              << std::endl;
    return;
  }
  double tokens = 0;
  for (const auto& row : ids) tokens += static_cast<double>(row.size());
  const double embedding_free =
      parameter_count(*session.model) - static_cast<double>(session.model->parameters().front().numel());
  std::printf("                        measured     limit\n");
  std::printf("load                  %8.3f s\n", session.load_seconds);
  std::printf("embedding             %8.1f %9.1f texts/s (of this machine's matrix product)\n", rate,
              product_rate(session.model->dtype()) / (2 * embedding_free) * static_cast<double>(texts.size()) / tokens);
  std::printf("peak memory           %8.0f MB\n", peak_rss_mb());
}

}  // namespace

void add_bench(CLI::App& bench) {
  bench.require_subcommand(0, 1);
  auto generation = std::make_shared<GenerationBench>();
  generation->model.add_to(bench);
  bench.get_option("MODEL")->required(false);
  bench.add_option("--prompt-tokens", generation->prompt_tokens, "length of the prompt")->check(CLI::Range(1, 1 << 20));
  bench.add_option("--new-tokens", generation->new_tokens, "tokens to generate")->check(CLI::Range(1, 1 << 20));
  bench.add_option("--batch", generation->batch, "sequences at the same time")->check(CLI::Range(1, 4096));

  auto* embed = bench.add_subcommand("embed", "Texts embedded a second");
  auto embedding = std::make_shared<EmbeddingBench>();
  embedding->model.add_to(*embed);
  embed->add_option("--file", embedding->file, "a file with a text a line")->required();
  embed->add_option("--batch", embedding->batch, "texts in one forward pass")->check(CLI::Range(1, 65536));
  embed->callback([embedding] { run_embedding(*embedding); });

  bench.callback([&bench, generation] {
    if (!bench.get_subcommands().empty()) return;
    if (generation->model.model.empty()) throw Error(ErrorCode::usage, "give a MODEL, or 'embed' or 'tokenize'");
    run_generation(*generation);
  });
}

}  // namespace backplane::cli
