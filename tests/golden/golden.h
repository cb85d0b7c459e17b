#pragma once

#include <filesystem>
#include <string>

namespace backplane::golden {

/// The verdict on one fixture file.
struct GoldenResult {
  bool passed = false;
  std::string kind;  // "bert" for a model; the path below preprocessing/ for the others ("tokenizers/components")
  std::string name;  // "BertModel AutoModel"; the file or case folder
  double max_abs_diff = 0;
  double noise_floor = 0;  // of the output with the largest difference relative to what is allowed
  size_t cases = 1;        // answers compared
  size_t failed_cases = 0;
  std::string reason;  // of the first failure: what differs, where, both values
};

struct GoldenOptions {
  std::string cache;  // folder of the real vocabularies; empty: fixtures that need it are skipped
  std::string dump;   // folder to write activations to; empty: none
};

/// True for the file names of a kind; each part of the runner has such a pair, and runner.cpp lists them.
bool is_model_fixture(const std::filesystem::path& file);
GoldenResult run_model_fixture(const std::filesystem::path& file, const GoldenOptions& options);

}  // namespace backplane::golden
