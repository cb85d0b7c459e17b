// backplane-golden: judges fixtures of the reference through the public interface.

#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>

#include "backplane/base/json.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "golden/auto.h"
#include "golden/chat_templates.h"
#include "golden/feature_extractors.h"
#include "golden/golden.h"
#include "golden/image_processors.h"
#include "golden/tokenizer_classes.h"
#include "golden/tokenizers.h"
#include "golden/video_processors.h"

namespace {

using namespace backplane;
using namespace backplane::golden;

struct Kind {
  bool (*is)(const std::filesystem::path&);
  GoldenResult (*run)(const std::filesystem::path&, const GoldenOptions&);
};

constexpr Kind kKinds[] = {
    {is_model_fixture, run_model_fixture},
    {is_auto_fixture, run_auto_fixture},
    {is_tokenizer_fixture, run_tokenizer_fixture},
    {is_tokenizer_class_fixture, run_tokenizer_class_fixture},
    {is_chat_template_fixture, run_chat_template_fixture},
    {is_image_processor_fixture, run_image_processor_fixture},
    {is_feature_extractor_fixture, run_feature_extractor_fixture},
    {is_video_processor_fixture, run_video_processor_fixture},
};

GoldenResult judge(const std::filesystem::path& file, const GoldenOptions& options) {
  for (const auto& kind : kKinds) {
    if (kind.is(file)) return kind.run(file, options);
  }
  GoldenResult result;
  result.kind = "unknown";
  result.name = file.string();
  result.reason = "no kind of fixture that this runner knows";
  return result;
}

bool is_known(const std::filesystem::path& file) {
  return std::any_of(std::begin(kKinds), std::end(kKinds), [&](const Kind& kind) { return kind.is(file); });
}

std::string line_of(const GoldenResult& result, bool json) {
  if (json) {
    return python_dumps({{"passed", result.passed},
                         {"kind", result.kind},
                         {"name", result.name},
                         {"max_abs_diff", result.max_abs_diff},
                         {"noise_floor", result.noise_floor},
                         {"cases", result.cases},
                         {"failed_cases", result.failed_cases},
                         {"reason", result.reason}});
  }
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, "%.3g %.3g", result.max_abs_diff, result.noise_floor);
  return concat(result.passed ? "PASS " : "FAIL ", result.kind, " ", result.name, " ", numbers,
                result.reason.empty() ? "" : " ", result.reason);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Compares Backplane with fixtures of the reference. Folders stand for all fixtures in them.");
  std::vector<std::string> arguments;
  GoldenOptions options;
  size_t jobs = 1;
  bool json = false;
  app.add_option("FILE", arguments, "fixtures, or folders of them")->required();
  app.add_option("--jobs", jobs, "fixtures at the same time")->check(CLI::Range(1, 64));
  app.add_flag("--json", json, "one JSON object a line");
  app.add_option("--dump", options.dump,
                 "write all outputs, hidden states and attentions to this folder, as safetensors");
  app.add_option("--cache", options.cache, "folder of the real vocabularies");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }

  std::vector<std::filesystem::path> files;
  for (const auto& argument : arguments) {
    const std::filesystem::path path = std::filesystem::absolute(argument);
    if (!std::filesystem::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
      if (entry.is_regular_file() && is_known(entry.path())) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }

  at::set_num_threads(1);
  std::atomic<size_t> next = 0, passed = 0, failed = 0;
  std::mutex output;
  const auto work = [&] {
    while (true) {
      const size_t i = next++;
      if (i >= files.size()) return;
      WarningCollector quiet;
      const GoldenResult result = judge(files[i], options);
      ++(result.passed ? passed : failed);
      std::lock_guard lock(output);
      std::cout << line_of(result, json) << std::endl;
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < jobs; ++i) threads.emplace_back(work);
  work();
  for (auto& thread : threads) thread.join();
  std::cout << passed << " passed, " << failed << " failed" << std::endl;
  return failed == 0 ? 0 : 1;
}
