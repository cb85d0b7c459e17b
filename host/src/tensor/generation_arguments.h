#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "backplane/generation/generate.h"
#include "backplane/text/tokenizer.h"

namespace backplane::cli {

/// Options of the verbs that generate.
struct GenerationArguments {
  int64_t max_new_tokens = 256;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  std::optional<uint64_t> seed;
  bool greedy = false;
  bool ignore_eos = false;

  void add_to(CLI::App& app);
  GenerateOptions options() const;
};

/// Collects ids, and prints their text as it becomes certain.
class TextOut : public TokenStreamer {
 public:
  TextOut(std::shared_ptr<const Tokenizer> tokenizer, bool print)
      : stream_(std::move(tokenizer), true), print_(print) {}
  bool put(const std::vector<int64_t>& ids) override;
  void end() override;

 private:
  DecodeStream stream_;
  bool print_;
};

struct Answer {
  std::vector<int64_t> ids;
  bool stopped = false;
  double prefill_rate = 0, decode_rate = 0;  // tokens a second
};

Answer answer_prompt(PreTrainedModel& model, const Tokenizer& tokenizer, const std::vector<int64_t>& prompt_ids,
                     const GenerationArguments& arguments, TokenStreamer* streamer);

}  // namespace backplane::cli
