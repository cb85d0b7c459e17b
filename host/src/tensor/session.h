#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backplane/host/auto_model.h"
#include "backplane/host/auto_tokenizer.h"

namespace backplane::cli {

/// Options that every verb with a MODEL and tensors takes.
struct ModelArguments {
  std::string model;
  std::string dtype;
  std::optional<std::string> revision;
  int threads = 0;
  bool json = false;
  bool verbose = false;
  bool trust_remote_code = false;

  void add_to(CLI::App& app);
  PretrainedOptions options() const;
};

/// A model with its tokenizer, ready to run.
struct Session {
  std::shared_ptr<Tokenizer> tokenizer;
  ModelPtr model;
  double load_seconds = 0;
};

Session open_session(AutoClass auto_class, const ModelArguments& arguments);
/// The model alone, for what is not text.
ModelPtr open_model(AutoClass auto_class, const ModelArguments& arguments);

/// The lines of a file, without their ends.
std::vector<std::string> read_lines(const std::string& path);

double now();

}  // namespace backplane::cli
