// bench-tokenize TOKENIZER.json TEXTS.json ROUNDS: the speed of Tokenizer::encode_ids on one thread, in CPU time, as JSON.
// tokenize_bench.py calls it beside the Rust library.
#include <algorithm>
#include <ctime>
#include <iostream>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/text/tokenizer.h"

namespace {

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: bench-tokenize TOKENIZER.json TEXTS.json ROUNDS\n";
    return 2;
  }
  using namespace backplane;
  const std::string json = read_file(argv[1], limits::kTokenizerBytes);
  const auto texts = read_json_file(argv[2], ErrorCode::bad_config, {.bytes = limits::kTokenizerBytes}).get<std::vector<std::string>>();
  const int rounds = std::max(1, std::atoi(argv[3]));
  std::shared_ptr<Tokenizer> tokenizer;
  double load = 1e9, encode = 1e9;
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  for (int i = 0; i < rounds; ++i) {
    const double start = cpu_seconds();
    tokenizer = Tokenizer::from_json(json, argv[1]);
    load = std::min(load, cpu_seconds() - start);
  }
  std::vector<size_t> counts;
  for (int i = 0; i < rounds; ++i) {
    counts.clear();
    const double start = cpu_seconds();
    for (const std::string& text : texts) counts.push_back(tokenizer->encode_ids(text).size());
    encode = std::min(encode, cpu_seconds() - start);
  }
  std::cout << Json{{"load_ms", load * 1e3}, {"mb_s", static_cast<double>(bytes) / encode / 1e6}, {"counts", counts}}.dump() << "\n";
}
