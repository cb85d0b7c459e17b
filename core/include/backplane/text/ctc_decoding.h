#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backplane/text/tokenizer.h"

namespace backplane {

/// A character or a word, and the frames of the model's output that it came from.
struct CtcSpan {
  std::string text;
  int64_t begin, end;
};

struct CtcText {
  std::string text;
  std::vector<CtcSpan> characters, words;
};

struct CtcOptions {
  std::string pad_token;       ///< CTC's blank
  std::string delimiter, blank = " ";  ///< the token between words, and what it becomes
  bool phonemes = false;       ///< tokens stand apart in the text, delimiters are left out
  bool lower_case = false, group_tokens = true;
};

/// Repeated tokens become one, blanks go (Graves et al. 2006).
CtcText collapse_ctc(const std::vector<std::string>& tokens, const CtcOptions& options);

/// The best path of a CTC model as text, with the frames of its characters and words: Wav2Vec2CTCTokenizer and
/// Wav2Vec2PhonemeCTCTokenizer of transformers, whose settings are read from the tokenizer's configuration.
CtcText decode_ctc(const Tokenizer& tokenizer, const std::vector<int64_t>& ids, bool skip_special_tokens = false,
                   bool group_tokens = true);

}  // namespace backplane
