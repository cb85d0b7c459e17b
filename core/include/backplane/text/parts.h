#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/base/error.h"

namespace backplane {

/// The parts of a tokenizer.json by themselves, for looking at what each does. Each takes the JSON text of its key and
/// throws `bad_tokenizer` for one it cannot read. Offsets are in code points of the input unless said otherwise.
/// Immutable; any thread.
struct NormalizedText {
  std::string text;
  std::vector<std::pair<int64_t, int64_t>> offsets;  ///< of every code point of `text`
};
NormalizedText normalize_text(std::string_view normalizer_json, std::string_view text);

struct TextPiece {
  std::string text;
  int64_t begin, end;
};
/// `normalizer_json` may be "null".
std::vector<TextPiece> pre_tokenize_text(std::string_view normalizer_json, std::string_view pre_tokenizer_json, std::string_view text);

std::string decode_tokens(std::string_view decoder_json, const std::vector<std::string>& tokens);

class TokenizerModel {
 public:
  struct Token {
    std::string text;
    int64_t id;
    int64_t begin, end;  ///< bytes of the piece
  };
  explicit TokenizerModel(std::string_view model_json);
  ~TokenizerModel();
  std::vector<Token> tokenize(std::string_view piece) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane
