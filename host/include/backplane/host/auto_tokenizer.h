#pragma once

#include <memory>
#include <string>

#include "backplane/host/pretrained_options.h"
#include "backplane/host/register.h"
#include "backplane/hub/hub.h"
#include "backplane/text/tokenizer.h"

namespace backplane {

/// Tokenizers by name (AC-119 to AC-136).
class AutoTokenizer {
 public:
  AutoTokenizer() = delete;  // AC-01

  /// The tokenizer of a folder, a repository or a .gguf file; `options.overrides` replace keys of tokenizer_config.json.
  /// Thread-safe. Throws as resolve_preprocessor, and `bad_tokenizer`.
  static std::shared_ptr<Tokenizer> from_pretrained(const std::string& name_or_path, const PretrainedOptions& options = {});

  /// Classes by name for a model type; one of them may be left empty (AC-32).
  static void register_(const std::string& model_type, const std::string& slow, const std::string& fast, bool exist_ok = false) {
    register_preprocessor({std::string(Auto::Tokenizer.name), model_type, slow, fast, nullptr}, exist_ok);
  }
};

/// The tokenizer of a class that dispatch chose, from its files (fetched first where they are in a repository).
std::shared_ptr<Tokenizer> make_tokenizer(const std::string& class_name, ModelFiles files, const PretrainedOptions& options = {});

}  // namespace backplane
