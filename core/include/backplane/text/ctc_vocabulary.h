#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace backplane {

/// A word of a transcript and the frames that it covers: [first, last).
struct CtcWord {
  std::string text;
  int64_t first = 0, last = 0;
};

struct CtcText {
  std::string text;
  std::vector<CtcWord> words;
};

/// How the best class of each frame becomes text: repeats are one, blanks fall out, the word delimiter is a space.
/// Graves et al. 2006; the settings are Wav2Vec2CTCTokenizer's. Immutable; any thread.
class CtcVocabulary {
 public:
  /// Reads vocab.json, tokenizer_config.json, special_tokens_map.json and added_tokens.json. Throws `file_not_found`,
  /// `bad_tokenizer`.
  static CtcVocabulary from_folder(const std::string& folder);

  /// `ids`: the best class of every frame.
  CtcText decode(const std::vector<int64_t>& ids) const;

 private:
  std::unordered_map<int64_t, std::string> tokens_;
  std::string blank_ = "<pad>", delimiter_ = "|", space_ = " ";
  bool lower_ = false;
};

}  // namespace backplane
