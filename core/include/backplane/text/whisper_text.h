#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backplane/text/tokenizer.h"

// What WhisperTokenizer of transformers has beyond other tokenizers.
namespace backplane {

/// What stands before a transcription: the spoken language ("german" or "de"), the task ("transcribe" or "translate")
/// and whether there are times in the text.
struct WhisperPrefix {
  std::optional<std::string> language, task;
  bool predict_timestamps = false;
};

/// Throws `invalid_value` for a language or task that Whisper does not have.
std::vector<int64_t> whisper_prefix_ids(const Tokenizer& tokenizer, const WhisperPrefix& prefix);
/// From now on texts get this prefix, and the end token.
void set_whisper_prefix(Tokenizer& tokenizer, const WhisperPrefix& prefix);
/// Earlier text, which the model takes as context. Throws `invalid_value` where it holds a special token.
std::vector<int64_t> whisper_prompt_ids(const Tokenizer& tokenizer, const std::string& text);

/// A part of a transcription with its begin and end in seconds.
struct WhisperSegment {
  std::string text;
  double begin, end;
};
/// Seconds of a step between times.
inline constexpr double kWhisperTimePrecision = 0.02;
/// The text with times in it: "<|0.00|> Hello<|1.50|>".
std::string whisper_decode_with_timestamps(const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
                                           bool skip_special_tokens = false,
                                           double time_precision = kWhisperTimePrecision);
std::vector<WhisperSegment> whisper_segments(const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
                                             double time_precision = kWhisperTimePrecision);

/// The text normalizers that word error rates are computed with (Radford et al. 2022, appendix C). `spelling` maps
/// British to American words, as normalizer.json does.
std::string normalize_english_text(const std::string& text, const std::map<std::string, std::string>& spelling);
std::string normalize_text_basic(const std::string& text, bool remove_diacritics = false);
/// normalizer.json of a folder; empty where there is none.
std::map<std::string, std::string> read_whisper_spelling(const std::string& folder);

}  // namespace backplane
