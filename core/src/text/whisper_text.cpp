#include "backplane/text/whisper_text.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "text/python_text.h"
#include "text/unicode.h"
#include "text/whisper_decoding.h"

namespace backplane {
namespace {

using text::py::Regex;

constexpr std::pair<std::string_view, std::string_view> kLanguages[] = {
    {"en", "english"}, {"zh", "chinese"}, {"de", "german"}, {"es", "spanish"}, {"ru", "russian"}, {"ko", "korean"}, {"fr", "french"}, {"ja", "japanese"},
    {"pt", "portuguese"}, {"tr", "turkish"}, {"pl", "polish"}, {"ca", "catalan"}, {"nl", "dutch"}, {"ar", "arabic"}, {"sv", "swedish"},
    {"it", "italian"}, {"id", "indonesian"}, {"hi", "hindi"}, {"fi", "finnish"}, {"vi", "vietnamese"}, {"he", "hebrew"}, {"uk", "ukrainian"},
    {"el", "greek"}, {"ms", "malay"}, {"cs", "czech"}, {"ro", "romanian"}, {"da", "danish"}, {"hu", "hungarian"}, {"ta", "tamil"}, {"no", "norwegian"},
    {"th", "thai"}, {"ur", "urdu"}, {"hr", "croatian"}, {"bg", "bulgarian"}, {"lt", "lithuanian"}, {"la", "latin"}, {"mi", "maori"}, {"ml", "malayalam"},
    {"cy", "welsh"}, {"sk", "slovak"}, {"te", "telugu"}, {"fa", "persian"}, {"lv", "latvian"}, {"bn", "bengali"}, {"sr", "serbian"},
    {"az", "azerbaijani"}, {"sl", "slovenian"}, {"kn", "kannada"}, {"et", "estonian"}, {"mk", "macedonian"}, {"br", "breton"}, {"eu", "basque"},
    {"is", "icelandic"}, {"hy", "armenian"}, {"ne", "nepali"}, {"mn", "mongolian"}, {"bs", "bosnian"}, {"kk", "kazakh"}, {"sq", "albanian"},
    {"sw", "swahili"}, {"gl", "galician"}, {"mr", "marathi"}, {"pa", "punjabi"}, {"si", "sinhala"}, {"km", "khmer"}, {"sn", "shona"}, {"yo", "yoruba"},
    {"so", "somali"}, {"af", "afrikaans"}, {"oc", "occitan"}, {"ka", "georgian"}, {"be", "belarusian"}, {"tg", "tajik"}, {"sd", "sindhi"},
    {"gu", "gujarati"}, {"am", "amharic"}, {"yi", "yiddish"}, {"lo", "lao"}, {"uz", "uzbek"}, {"fo", "faroese"}, {"ht", "haitian creole"},
    {"ps", "pashto"}, {"tk", "turkmen"}, {"nn", "nynorsk"}, {"mt", "maltese"}, {"sa", "sanskrit"}, {"lb", "luxembourgish"}, {"my", "myanmar"},
    {"bo", "tibetan"}, {"tl", "tagalog"}, {"mg", "malagasy"}, {"as", "assamese"}, {"tt", "tatar"}, {"haw", "hawaiian"}, {"ln", "lingala"},
    {"ha", "hausa"}, {"ba", "bashkir"}, {"jw", "javanese"}, {"su", "sundanese"}, {"yue", "cantonese"}};
constexpr std::pair<std::string_view, std::string_view> kOtherNames[] = {
    {"burmese", "my"},   {"valencian", "ca"}, {"flemish", "nl"},   {"haitian", "ht"},   {"letzeburgesch", "lb"}, {"pushto", "ps"},
    {"panjabi", "pa"},   {"moldavian", "ro"}, {"moldovan", "ro"},  {"sinhalese", "si"}, {"castilian", "es"},     {"mandarin", "zh"}};

// The place of a language among Whisper's tokens.
int64_t language_index(const std::string& given) {
  std::string name = text::py::lower(given);
  for (const auto& [other, code] : kOtherNames)
    if (name == other) name = code;
  for (size_t i = 0; i < std::size(kLanguages); ++i)
    if (name == kLanguages[i].first || name == kLanguages[i].second) return static_cast<int64_t>(i);
  std::vector<std::string> names;
  for (const auto& [code, language] : kLanguages) {
    names.emplace_back(code);
    names.emplace_back(language);
  }
  const auto close = close_matches(name, names);
  throw Error(ErrorCode::invalid_value, concat("Whisper has no language '", given, "'", close.empty() ? "" : concat("; did you mean ", join(close), "?")));
}

int64_t id_of(const Tokenizer& tokenizer, const char* token) { return tokenizer.convert_tokens_to_ids({token})[0]; }

int64_t timestamp_begin(const Tokenizer& tokenizer) {
  const auto ids = tokenizer.all_special_ids();
  return ids.empty() ? INT64_MAX : ids.back() + 1;
}

}  // namespace

std::vector<int64_t> text::strip_prompt(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  if (ids.empty() || ids[0] != id_of(tokenizer, "<|startofprev|>")) return ids;
  return {std::find(ids.begin(), ids.end(), id_of(tokenizer, "<|startoftranscript|>")), ids.end()};
}

std::string text::without_timestamps(const std::string& text) {
  static const Regex kTimestamp("<\\|(\\d+\\.\\d+)\\|>");
  return kTimestamp.sub(text, "");
}

std::vector<int64_t> whisper_prefix_ids(const Tokenizer& tokenizer, const WhisperPrefix& prefix) {
  const int64_t start = id_of(tokenizer, "<|startoftranscript|>");
  std::vector<int64_t> ids{start};
  if (prefix.language) ids.push_back(start + 1 + language_index(*prefix.language));
  if (prefix.task) {
    if (*prefix.task != "transcribe" && *prefix.task != "translate")
      throw Error(ErrorCode::invalid_value, concat("Whisper has no task '", *prefix.task, "'; expected transcribe or translate"));
    ids.push_back(id_of(tokenizer, *prefix.task == "transcribe" ? "<|transcribe|>" : "<|translate|>"));
  }
  if (!prefix.predict_timestamps) ids.push_back(id_of(tokenizer, "<|notimestamps|>"));
  return ids;
}

void set_whisper_prefix(Tokenizer& tokenizer, const WhisperPrefix& prefix) {
  std::string front;
  for (const int64_t id : whisper_prefix_ids(tokenizer, prefix)) front += concat("#", id, " ");
  tokenizer.set_special_layout(front + "A eos", front + (tokenizer.is_fast() ? "A B:1 eos:1" : "A B eos"));
}

std::vector<int64_t> whisper_prompt_ids(const Tokenizer& tokenizer, const std::string& prompt) {
  const auto ids = tokenizer.encode_pair("<|startofprev|>", " " + text::py::strip(prompt), {.add_special_tokens = false}).ids;
  const auto special = tokenizer.all_special_ids();
  for (size_t i = 1; i < ids.size(); ++i)
    if (!special.empty() && ids[i] >= special[0])
      throw Error(ErrorCode::invalid_value, concat("the prompt holds the special token '", tokenizer.id_to_token(ids[i]).value_or(""), "'"));
  return ids;
}

namespace {

// Where in the sound the times of a segment of 30 seconds stand, as they restart at 0.
class Clock {
 public:
  Clock(const std::vector<int64_t>& ids, int64_t begin) : ids_(ids), begin_(begin) {}
  bool is_time(size_t i) const { return ids_[i] >= begin_; }
  bool single_before(size_t i) const { return i >= 2 && !(is_time(i - 1) && is_time(i - 2)); }

 private:
  const std::vector<int64_t>& ids_;
  int64_t begin_;
};

constexpr double kSegmentSteps = 1500;

}  // namespace

std::string whisper_decode_with_timestamps(const Tokenizer& tokenizer, const std::vector<int64_t>& given, bool skip_special_tokens, double precision) {
  const std::vector<int64_t> ids = skip_special_tokens ? text::strip_prompt(tokenizer, given) : given;
  const int64_t begin = timestamp_begin(tokenizer);
  const Clock clock(ids, begin);
  struct Part {
    std::vector<int64_t> ids;
    std::string time;
  };
  std::vector<Part> parts(1);
  double latest = 0, before = 0, previous_segments = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!clock.is_time(i)) {
      parts.back().ids.push_back(ids[i]);
      continue;
    }
    const double time = static_cast<double>(ids[i] - begin) * precision;
    if (time < latest) {
      if (clock.single_before(i)) {
        previous_segments += precision * kSegmentSteps;
      } else {
        latest = before;
        previous_segments += before;
        parts.resize(parts.size() > 2 ? parts.size() - 2 : 0);
      }
    }
    before = latest;
    latest = time;
    char written[64];
    std::snprintf(written, sizeof written, "<|%.2f|>", time + previous_segments);
    parts.push_back({{}, written});
    parts.emplace_back();
  }
  std::string out;
  for (const Part& part : parts) out += part.time.empty() ? tokenizer.decode(part.ids, {.skip_special_tokens = skip_special_tokens}) : part.time;
  return out;
}

std::vector<WhisperSegment> whisper_segments(const Tokenizer& tokenizer, const std::vector<int64_t>& ids, double precision) {
  const int64_t begin = timestamp_begin(tokenizer);
  const Clock clock(ids, begin);
  std::vector<size_t> times, cuts;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!clock.is_time(i)) continue;
    if (i > 0 && clock.is_time(i - 1)) cuts.push_back(i);
    times.push_back(i);
  }
  if (cuts.empty() && times.size() <= 1) return {};
  if (std::find(cuts.begin(), cuts.end(), times.back() + 1) == cuts.end()) cuts.push_back(times.back() + 1);
  std::vector<WhisperSegment> segments;
  size_t last = times[0];
  int64_t latest = 0, previous_segments = 0;
  for (const size_t cut : cuts) {
    if (cut > last + 1) {
      const int64_t start = ids[last] - begin, end = ids[cut - 1] - begin;
      if (start < latest) previous_segments += clock.single_before(last) ? static_cast<int64_t>(kSegmentSteps) : latest;
      latest = end;
      const std::string text = tokenizer.decode({ids.begin() + static_cast<ptrdiff_t>(last), ids.begin() + static_cast<ptrdiff_t>(cut)});
      const double shift = static_cast<double>(previous_segments) * precision;
      segments.push_back({text, static_cast<double>(start) * precision + shift, static_cast<double>(end) * precision + shift});
    }
    last = cut;
  }
  return segments;
}

// --- text normalizers ---

namespace {

std::string without_symbols(const std::string& text) {
  std::string out;
  for (const uint32_t c : text::py::code_points(text::py::normalized(text, text::py::Form::nfkc))) {
    const char kind = text::py::category(c)[0];
    if (kind == 'M' || kind == 'S' || kind == 'P') out += ' ';
    else text::append(out, c);
  }
  return out;
}

std::string without_symbols_and_diacritics(const std::string& text, std::string_view keep = "") {
  static const std::map<uint32_t, const char*> kLetters{{0x153, "oe"}, {0x152, "OE"}, {0xF8, "o"}, {0xD8, "O"},  {0xE6, "ae"}, {0xC6, "AE"}, {0xDF, "ss"}, {0x1E9E, "SS"}, {0x111, "d"},
                                                        {0x110, "D"},  {0xF0, "d"},   {0xD0, "D"}, {0xFE, "th"}, {0xDE, "th"}, {0x142, "l"}, {0x141, "L"}};
  std::string out;
  for (const uint32_t c : text::py::code_points(text::py::normalized(text, text::py::Form::nfkd))) {
    std::string written;
    text::append(written, c);
    const auto letter = kLetters.find(c);
    const std::string_view kind = text::py::category(c);
    if (keep.find(written) != std::string_view::npos) out += written;
    else if (letter != kLetters.end()) out += letter->second;
    else if (kind == "Mn") continue;
    else if (kind[0] == 'M' || kind[0] == 'S' || kind[0] == 'P') out += ' ';
    else out += written;
  }
  return out;
}

std::string without_brackets(const std::string& text) {
  static const Regex kBrackets("[<\\[][^>\\]]*[>\\]]"), kParentheses("\\(([^)]+?)\\)");
  return kParentheses.sub(kBrackets.sub(text, ""), "");
}

using Whole = unsigned __int128;

std::string written(Whole value) {
  std::string out;
  do out.insert(out.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
  while (value /= 10);
  return out;
}

// Numbers in words as digits: "twenty one hundred and five" -> "2105".
class Numbers {
 public:
  std::string normalize(const std::string& text) const {
    std::string out;
    for (const std::string& word : process(text::py::split(preprocess(text)))) out += (out.empty() ? "" : " ") + word;
    return postprocess(out);
  }

 private:
  struct Suffixed {
    int number;
    std::string suffix;
  };
  static const std::map<std::string, int>& ones() {
    static const auto kOnes = [] {
      std::map<std::string, int> ones;
      int value = 0;
      for (const char* name : {"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
                               "eighteen", "nineteen"})
        ones[name] = ++value;
      return ones;
    }();
    return kOnes;
  }
  static const std::map<std::string, Suffixed>& ones_suffixed() {
    static const auto kOnes = [] {
      std::map<std::string, Suffixed> map;
      for (const auto& [name, value] : ones()) {
        map[name == "six" ? "sixes" : name + "s"] = {value, "s"};
        if (value > 3 && value != 5 && value != 12) map[name + (name.ends_with('t') ? "h" : "th")] = {value, "th"};
      }
      map["zeroth"] = {0, "th"};
      map["first"] = {1, "st"};
      map["second"] = {2, "nd"};
      map["third"] = {3, "rd"};
      map["fifth"] = {5, "th"};
      map["twelfth"] = {12, "th"};
      return map;
    }();
    return kOnes;
  }
  static const std::map<std::string, int>& tens() {
    static const std::map<std::string, int> kTens{{"twenty", 20}, {"thirty", 30}, {"forty", 40}, {"fifty", 50}, {"sixty", 60}, {"seventy", 70}, {"eighty", 80}, {"ninety", 90}};
    return kTens;
  }
  static const std::map<std::string, Suffixed>& tens_suffixed() {
    static const auto kTens = [] {
      std::map<std::string, Suffixed> map;
      for (const auto& [name, value] : tens()) {
        map[text::py::replaced(name, "y", "ies")] = {value, "s"};
        map[text::py::replaced(name, "y", "ieth")] = {value, "th"};
      }
      return map;
    }();
    return kTens;
  }
  static const std::map<std::string, Whole>& multipliers() {
    static const auto kMultipliers = [] {
      std::map<std::string, Whole> map{{"hundred", 100}};
      Whole value = 1;
      for (const char* name : {"thousand", "million", "billion", "trillion", "quadrillion", "quintillion", "sextillion", "septillion", "octillion", "nonillion", "decillion"})
        map[name] = value *= 1000;
      return map;
    }();
    return kMultipliers;
  }
  // The multiplier that a word ends a number with: "thousands", "millionth".
  static std::optional<std::pair<Whole, std::string>> multiplier_suffixed(const std::string& word) {
    for (const auto& [name, value] : multipliers())
      for (const char* suffix : {"s", "th"})
        if (word == name + suffix) return std::pair(value, std::string(suffix));
    return std::nullopt;
  }
  static const std::map<std::string, std::string>& signs() {
    static const std::map<std::string, std::string> kSigns{{"minus", "-"}, {"negative", "-"}, {"plus", "+"}, {"positive", "+"}};
    return kSigns;
  }
  static const std::map<std::string, std::string>& currencies() {
    static const std::map<std::string, std::string> kCurrencies{{"pound", "£"}, {"pounds", "£"}, {"euro", "€"}, {"euros", "€"}, {"dollar", "$"}, {"dollars", "$"}, {"cent", "¢"}, {"cents", "¢"}};
    return kCurrencies;
  }
  static bool is_zero(const std::string& word) { return word == "o" || word == "oh" || word == "zero"; }
  static bool is_decimal(const std::string& word) { return ones().count(word) || tens().count(word) || is_zero(word); }
  static bool is_special(const std::string& word) { return word == "and" || word == "double" || word == "triple" || word == "point"; }
  static bool is_known(const std::string& word) {
    return is_decimal(word) || ones_suffixed().count(word) || tens_suffixed().count(word) || multipliers().count(word) || multiplier_suffixed(word) || signs().count(word) ||
           currencies().count(word) || word == "per" || word == "percent" || is_special(word);
  }
  static bool is_numeric(const std::string& word) {
    static const Regex kNumber("^\\d+(\\.\\d+)?$");
    return kNumber.search(word);
  }

  // A number so far: digits as text, or a whole number; nothing.
  struct Value {
    bool set = false, is_text = false;
    std::string text;
    Whole number = 0;
    std::string str() const { return is_text ? text : written(number); }
    bool truthy() const { return set && (is_text ? !text.empty() : number != 0); }
  };

  // `text` times `multiplier`, if that is whole.
  static std::optional<Whole> product(const Value& value, Whole multiplier) {
    const std::string text = value.str();
    Whole number = 0, scale = 1;
    bool fraction = false, any = false;
    for (const char c : text) {
      if (c == '.' && !fraction) {
        fraction = true;
        continue;
      }
      if (c < '0' || c > '9') return std::nullopt;
      any = true;
      if (number > (~Whole{0} >> 8) / 10) return std::nullopt;
      number = number * 10 + static_cast<Whole>(c - '0');
      if (fraction) scale *= 10;
    }
    if (!any || (number != 0 && multiplier > ~Whole{0} / number)) return std::nullopt;
    const Whole whole = number * multiplier;
    return whole % scale ? std::nullopt : std::optional(whole / scale);
  }

  static std::vector<std::string> process(const std::vector<std::string>& words) {
    std::vector<std::string> out;
    std::string prefix;
    Value value;
    const auto emit = [&](const std::string& text) {
      out.push_back(prefix + text);
      prefix.clear();
      value = {};
    };
    const auto set_number = [&](Whole number) { value = {true, false, "", number}; };
    const auto set_text = [&](std::string text) { value = {true, true, std::move(text), 0}; };
    const auto flush = [&] {
      if (value.set) emit(value.str());
    };
    bool skip = false;
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string& current = words[i];
      const std::string prev = i ? words[i - 1] : "", next = i + 1 < words.size() ? words[i + 1] : "";
      if (skip) {
        skip = false;
        continue;
      }
      const bool next_is_numeric = is_numeric(next);
      std::string sign, bare = current;
      for (const char* mark : {"-", "+", "£", "€", "$", "¢"})
        if (current.starts_with(mark)) sign = mark, bare = current.substr(sign.size());
      const auto one = ones().find(current);
      const auto one_suffixed = ones_suffixed().find(current);
      const auto ten = tens().find(current);
      const auto ten_suffixed = tens_suffixed().find(current);
      const auto multiplier = multipliers().find(current);
      if (is_numeric(bare)) {
        if (value.set) {
          if (value.is_text && value.text.ends_with('.')) {
            value.text += current;
            continue;
          }
          emit(value.str());
        }
        if (!sign.empty()) prefix = sign;
        const auto whole = product({true, true, bare, 0}, 1);
        if (whole) set_number(*whole);
        else set_text(bare);
      } else if (!is_known(current)) {
        flush();
        emit(current);
      } else if (is_zero(current)) {
        set_text((value.truthy() ? value.str() : "") + "0");
      } else if (one != ones().end()) {
        const int number = one->second;
        if (!value.set) set_number(static_cast<Whole>(number));
        else if (value.is_text || ones().count(prev)) {
          if (tens().count(prev) && number < 10) set_text(value.str().substr(0, value.str().size() - 1) + std::to_string(number));
          else set_text(value.str() + std::to_string(number));
        } else if (value.number % (number < 10 ? 10 : 100) == 0) {
          set_number(value.number + static_cast<Whole>(number));
        } else {
          set_text(value.str() + std::to_string(number));
        }
      } else if (one_suffixed != ones_suffixed().end()) {
        const auto& [number, suffix] = one_suffixed->second;
        std::string text = value.set ? value.str() : "";
        if (!value.set) emit(std::to_string(number) + suffix);
        else if (value.is_text || ones().count(prev)) emit((tens().count(prev) && number < 10 ? text.substr(0, text.size() - 1) : text) + std::to_string(number) + suffix);
        else if (value.number % (number < 10 ? 10 : 100) == 0) emit(written(value.number + static_cast<Whole>(number)) + suffix);
        else emit(text + std::to_string(number) + suffix);
        value = {};
      } else if (ten != tens().end()) {
        const auto number = static_cast<Whole>(ten->second);
        if (!value.set) set_number(number);
        else if (!value.is_text && value.number % 100 == 0) set_number(value.number + number);
        else set_text(value.str() + written(number));
      } else if (ten_suffixed != tens_suffixed().end()) {
        const auto& [number, suffix] = ten_suffixed->second;
        if (!value.set) emit(std::to_string(number) + suffix);
        else if (!value.is_text && value.number % 100 == 0) emit(written(value.number + static_cast<Whole>(number)) + suffix);
        else emit(value.str() + std::to_string(number) + suffix);
        value = {};
      } else if (multiplier != multipliers().end()) {
        if (!value.set) {
          set_number(multiplier->second);
        } else if (value.is_text || value.number == 0) {
          if (const auto whole = product(value, multiplier->second)) {
            set_number(*whole);
          } else {
            emit(value.str());
            set_number(multiplier->second);
          }
        } else {
          set_number(value.number / 1000 * 1000 + value.number % 1000 * multiplier->second);
        }
      } else if (const auto suffixed = multiplier_suffixed(current)) {
        const auto& [number, suffix] = *suffixed;
        if (!value.set) {
          emit(written(number) + suffix);
        } else if (value.is_text) {
          if (const auto whole = product(value, number)) {
            emit(written(*whole) + suffix);
          } else {
            emit(value.str());
            emit(written(number) + suffix);
          }
        } else {
          emit(written(value.number / 1000 * 1000 + value.number % 1000 * number) + suffix);
        }
        value = {};
      } else if (const auto found = signs().find(current); found != signs().end()) {
        flush();
        if (is_known(next) || next_is_numeric) prefix = found->second;
        else emit(current);
      } else if (const auto currency = currencies().find(current); currency != currencies().end()) {
        if (value.set) {
          prefix = currency->second;
          emit(value.str());
        } else {
          emit(current);
        }
      } else if (current == "per" || current == "percent") {
        if (!value.set) {
          emit(current);
        } else if (current == "percent") {
          emit(value.str() + "%");
        } else if (next == "cent") {
          emit(value.str() + "%");
          skip = true;
        } else {
          emit(value.str());
          emit(current);
        }
      } else if (!is_known(next) && !next_is_numeric) {
        flush();
        emit(current);
      } else if (current == "and") {
        if (!multipliers().count(prev)) {
          flush();
          emit(current);
        }
      } else if (current == "point") {
        if (is_decimal(next) || next_is_numeric) set_text((value.truthy() ? value.str() : "") + ".");
      } else if (ones().count(next) || is_zero(next)) {  // double, triple
        const auto digit = ones().find(next);
        std::string text = value.truthy() ? value.str() : "";
        for (int k = current == "double" ? 2 : 3; k > 0; --k) text += std::to_string(digit == ones().end() ? 0 : digit->second);
        set_text(text);
        skip = true;
      } else {
        flush();
        emit(current);
      }
    }
    flush();
    return out;
  }

  static std::string preprocess(const std::string& text) {
    static const Regex kHalf("\\band\\s+a\\s+half\\b"), kLetterDigit("([a-z])([0-9])"), kDigitLetter("([0-9])([a-z])"), kSuffix("([0-9])\\s+(st|nd|rd|th|s)\\b");
    std::vector<std::string> results;
    const auto segments = kHalf.split(text);
    for (size_t i = 0; i < segments.size(); ++i) {
      const auto words = text::py::split(segments[i]);
      if (words.empty()) continue;
      results.push_back(segments[i]);
      if (i + 1 < segments.size()) results.push_back(is_decimal(words.back()) || multipliers().count(words.back()) ? "point five" : "and a half");
    }
    return kSuffix.sub(kDigitLetter.sub(kLetterDigit.sub(join(results, " "), "\\1 \\2"), "\\1 \\2"), "\\1\\2");
  }

  static std::string postprocess(const std::string& text) {
    static const Regex kCents("([€£$])([0-9]+) (?:and )?¢([0-9]{1,2})\\b"), kOnlyCents("[€£$]0.([0-9]{1,2})\\b"), kOne("\\b1(s?)\\b");
    const std::string combined = kCents.sub_with(text, [](const Regex::Match& m) {
      return concat(m.groups[1], m.groups[2], ".", m.groups[3].size() < 2 ? "0" : "", m.groups[3]);
    });
    const std::string cents = kOnlyCents.sub_with(combined, [](const Regex::Match& m) { return concat("¢", std::stoi(std::string(m.groups[1]))); });
    return kOne.sub(cents, "one\\1");
  }
};

constexpr std::pair<const char*, const char*> kContractions[] = {
    {"\\bwon't\\b", "will not"}, {"\\bcan't\\b", "can not"}, {"\\blet's\\b", "let us"}, {"\\bain't\\b", "aint"}, {"\\by'all\\b", "you all"}, {"\\bwanna\\b", "want to"},
    {"\\bgotta\\b", "got to"}, {"\\bgonna\\b", "going to"}, {"\\bi'ma\\b", "i am going to"}, {"\\bimma\\b", "i am going to"}, {"\\bwoulda\\b", "would have"},
    {"\\bcoulda\\b", "could have"}, {"\\bshoulda\\b", "should have"}, {"\\bma'am\\b", "madam"}, {"\\bmr\\b", "mister "}, {"\\bmrs\\b", "missus "}, {"\\bst\\b", "saint "},
    {"\\bdr\\b", "doctor "}, {"\\bprof\\b", "professor "}, {"\\bcapt\\b", "captain "}, {"\\bgov\\b", "governor "}, {"\\bald\\b", "alderman "}, {"\\bgen\\b", "general "},
    {"\\bsen\\b", "senator "}, {"\\brep\\b", "representative "}, {"\\bpres\\b", "president "}, {"\\brev\\b", "reverend "}, {"\\bhon\\b", "honorable "}, {"\\basst\\b", "assistant "},
    {"\\bassoc\\b", "associate "}, {"\\blt\\b", "lieutenant "}, {"\\bcol\\b", "colonel "}, {"\\bjr\\b", "junior "}, {"\\bsr\\b", "senior "}, {"\\besq\\b", "esquire "},
    {"'d been\\b", " had been"}, {"'s been\\b", " has been"}, {"'d gone\\b", " had gone"}, {"'s gone\\b", " has gone"}, {"'d done\\b", " had done"}, {"'s got\\b", " has got"},
    {"n't\\b", " not"}, {"'re\\b", " are"}, {"'s\\b", " is"}, {"'d\\b", " would"}, {"'ll\\b", " will"}, {"'t\\b", " not"}, {"'ve\\b", " have"}, {"'m\\b", " am"}};

}  // namespace

std::string normalize_text_basic(const std::string& given, bool remove_diacritics) {
  static const Regex kBlanks("[\\s\\x1c-\\x1f]+");
  const std::string text = without_brackets(text::py::lower(text::replace_invalid(given)));
  return kBlanks.sub(text::py::lower(remove_diacritics ? without_symbols_and_diacritics(text) : without_symbols(text)), " ");
}

std::string normalize_english_text(const std::string& given, const std::map<std::string, std::string>& spelling) {
  static const Regex kFillers("\\b(hmm|mm|mhm|mmm|uh|um)\\b"), kApostrophe("\\s+'"), kComma("(\\d),(\\d)"), kPeriod("\\.([^0-9]|$)"), kLonely("[.$¢€£]([^0-9])"), kPercent("([^0-9])%"),
      kBlanks("[\\s\\x1c-\\x1f]+");
  static const std::vector<std::pair<Regex, const char*>> kReplacers = [] {
    std::vector<std::pair<Regex, const char*>> list;
    for (const auto& [pattern, with] : kContractions) list.emplace_back(Regex(pattern), with);
    return list;
  }();
  std::string text = without_brackets(text::py::lower(text::replace_invalid(given)));
  text = kApostrophe.sub(kFillers.sub(text, ""), "'");
  for (const auto& [pattern, with] : kReplacers) text = pattern.sub(text, with);
  text = kPeriod.sub(kComma.sub(text, "\\1\\2"), " \\1");
  text = Numbers().normalize(without_symbols_and_diacritics(text, ".%$¢€£"));
  std::vector<std::string> words = text::py::split(text);
  for (std::string& word : words)
    if (const auto found = spelling.find(word); found != spelling.end()) word = found->second;
  text = kPercent.sub(kLonely.sub(join(words, " "), " \\1"), "\\1 ");
  return kBlanks.sub(text, " ");
}

std::map<std::string, std::string> read_whisper_spelling(const std::string& folder) {
  std::map<std::string, std::string> spelling;
  const std::string path = folder + "/normalizer.json";
  if (!file_exists(path)) return spelling;
  const Json json = read_json_file(path, ErrorCode::bad_tokenizer);
  for (const auto& [word, other] : json.items())
    if (other.is_string()) spelling[word] = other.get<std::string>();
  return spelling;
}

}  // namespace backplane
