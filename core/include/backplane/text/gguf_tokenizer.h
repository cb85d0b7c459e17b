#pragma once

#include <memory>
#include <string>

#include "backplane/formats/gguf.h"

namespace backplane {

class Tokenizer;

/// The files that a GGUF vocabulary stands for, as texts (AC-136).
struct GgufTokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;
};

/// `gguf.model` gives the kind of vocabulary ("gpt2": byte-level BPE, "llama": SentencePiece's BPE with scores, "bert":
/// WordPiece) and `gguf.pre` how a byte-level one cuts its text. `file` is the name for messages. Throws
/// `bad_tokenizer` naming a kind that is not read.
GgufTokenizerFiles gguf_tokenizer_files(const GgufTokenizer& gguf, const std::string& file);

}  // namespace backplane
