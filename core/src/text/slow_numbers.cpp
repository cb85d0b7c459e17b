// Numbers and abbreviations in words, as CLVP's tokenizer reads them.
#include "backplane/base/strings.h"
#include "text/python_text.h"
#include "text/slow_models.h"

namespace backplane::text {
namespace {

constexpr const char* kOnes[] = {"", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
constexpr const char* kTeens[] = {"ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr const char* kTens[] = {"", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};
constexpr const char* kOutOfRange = "number out of range";

std::string words_of(uint64_t number) {
  if (number == 0) return "zero";
  if (number < 10) return kOnes[number];
  if (number < 20) return kTeens[number - 10];
  if (number < 100) return kTens[number / 10] + (number % 10 ? "-" + words_of(number % 10) : std::string());
  if (number < 1000) return concat(kOnes[number / 100], " hundred", number % 100 ? " " + words_of(number % 100) : std::string());
  uint64_t unit = 1000;
  for (const char* name : {"thousand", "million", "billion", "trillion", "quadrillion"}) {
    if (number < unit * 1000) return concat(words_of(number / unit), " ", name, number % unit ? ", " + words_of(number % unit) : std::string());
    unit *= 1000;
  }
  return kOutOfRange;
}

// Figures as a number; nothing beyond what there are words for.
std::optional<uint64_t> number_of(std::string_view figures) {
  while (figures.size() > 1 && figures[0] == '0') figures.remove_prefix(1);
  if (figures.size() > 18) return std::nullopt;
  uint64_t number = 0;
  for (const char c : figures) number = number * 10 + static_cast<uint64_t>(c - '0');
  return number;
}
std::string spoken(std::string_view figures) {
  const auto number = number_of(figures);
  return number ? words_of(*number) : kOutOfRange;
}

std::string dollars(const std::string& amount) {
  const auto parts = py::split(amount, ".");
  if (parts.size() > 2) return amount + " dollars";
  const auto plain = [](const std::string& figures) {
    std::string out = figures;
    while (out.size() > 1 && out[0] == '0') out.erase(0, 1);
    return out == "0" ? std::string() : out;
  };
  const std::string whole = plain(parts[0]), cents = parts.size() > 1 ? plain(parts[1]) : "";
  const std::string dollar_text = concat(whole, whole == "1" ? " dollar" : " dollars"), cent_text = concat(cents, cents == "1" ? " cent" : " cents");
  if (!whole.empty() && !cents.empty()) return concat(dollar_text, ", ", cent_text);
  return !whole.empty() ? dollar_text : !cents.empty() ? cent_text : "zero dollars";
}

std::string year(std::string_view figures) {
  const auto number = number_of(figures);
  if (!number || *number <= 1000 || *number >= 3000) return spoken(figures);
  if (*number == 2000) return "two thousand";
  if (*number > 2000 && *number < 2010) return "two thousand " + words_of(*number % 100);
  return *number % 100 == 0 ? words_of(*number / 100) + " hundred" : words_of(*number);
}

}  // namespace

std::string clvp_text(std::string_view given) {
  using py::Regex;
  static const Regex kCommas("([0-9][0-9,]+[0-9])"), kPounds("£([0-9,]*[0-9])"), kDollars("\\$([0-9.,]*[0-9])"), kPoint("([0-9]++\\.[0-9]+)"), kOrdinal("([0-9]++)(st|nd|rd|th)"),
      kNumber("[0-9]+"), kBlanks("\\s+");
  static const std::vector<std::pair<Regex, const char*>> kAbbreviations = [] {
    std::vector<std::pair<Regex, const char*>> list;
    for (const auto& [name, word] : {std::pair("mrs", "misess"), std::pair("mr", "mister"), std::pair("dr", "doctor"), std::pair("st", "saint"), std::pair("co", "company"), std::pair("jr", "junior"),
                                     std::pair("maj", "major"), std::pair("gen", "general"), std::pair("drs", "doctors"), std::pair("rev", "reverend"), std::pair("lt", "lieutenant"),
                                     std::pair("hon", "honorable"), std::pair("sgt", "sergeant"), std::pair("capt", "captain"), std::pair("esq", "esquire"), std::pair("ltd", "limited"),
                                     std::pair("col", "colonel"), std::pair("ft", "fort")})
      list.emplace_back(Regex(concat("\\b", name, "\\."), true), word);
    return list;
  }();
  std::string text;
  for (const char c : given)
    if (static_cast<uint8_t>(c) < 0x80) text += c;
  text = py::lower(text);
  text = kCommas.sub_with(text, [](const Regex::Match& m) { return py::replaced(std::string(m.groups[1]), ",", ""); });
  text = kPounds.sub(text, "\\1 pounds");
  text = kDollars.sub_with(text, [](const Regex::Match& m) { return dollars(std::string(m.groups[1])); });
  text = kPoint.sub_with(text, [](const Regex::Match& m) { return py::replaced(std::string(m.groups[1]), ".", " point "); });
  text = kOrdinal.sub_with(text, [](const Regex::Match& m) {
    const uint64_t last = number_of(m.groups[1].substr(m.groups[1].size() > 2 ? m.groups[1].size() - 2 : 0)).value_or(0);
    const char* suffix = (last >= 10 && last <= 20) || last % 10 > 3 || last % 10 == 0 ? "th" : last % 10 == 1 ? "st" : last % 10 == 2 ? "nd" : "rd";
    return spoken(m.groups[1]) + suffix;
  });
  text = kNumber.sub_with(text, [](const Regex::Match& m) { return year(m.groups[0]); });
  for (const auto& [pattern, word] : kAbbreviations) text = pattern.sub(text, word);
  return py::replaced(kBlanks.sub(text, " "), "\"", "");
}

}  // namespace backplane::text
