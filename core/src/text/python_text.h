#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

// Python's str methods, unicodedata and re, for the tokenizers that the reference writes in Python. Texts are UTF-8.
namespace backplane::text::py {

std::string lower(std::string_view text);
std::string upper(std::string_view text);
bool is_space(uint32_t code);
std::string strip(std::string_view text);
std::string lstrip(std::string_view text);
std::string rstrip(std::string_view text);
/// str.split(): words between runs of white space.
std::vector<std::string> split(std::string_view text);
/// str.split(separator)
std::vector<std::string> split(std::string_view text, std::string_view separator);
void replace_all(std::string& text, std::string_view from, std::string_view to);
std::string replaced(std::string text, std::string_view from, std::string_view to);
bool contains(const std::vector<std::string>& list, std::string_view item);

/// The code points of a text, each as its bytes.
std::vector<std::string> characters(std::string_view text);
std::vector<uint32_t> code_points(std::string_view text);
std::string from_code_points(const std::vector<uint32_t>& codes);

enum class Form { nfc, nfd, nfkc, nfkd };
std::string normalized(std::string_view text, Form form);
/// unicodedata.category: "Lu", "Mn", …
std::string_view category(uint32_t code);
bool is_digit(uint32_t code);      // str.isdigit
bool is_alpha(uint32_t code);
bool is_alnum(uint32_t code);
bool is_combining(uint32_t code);  // unicodedata.combining(c) != 0

template <class Keep>
std::string filtered(std::string_view text, Keep keep) {
  std::string out;
  for (const std::string& c : characters(text))
    if (keep(code_points(c)[0])) out += c;
  return out;
}

/// A regular expression of Python's re (or regex, with \p). Immutable, any thread.
class Regex {
 public:
  explicit Regex(std::string_view pattern, bool ignore_case = false, bool multiline = false, bool dotall = false);
  ~Regex();
  Regex(Regex&&) noexcept;

  struct Match {
    std::vector<std::string_view> groups;  // 0 is the whole; data() null where a group did not take part
    size_t begin, end;
  };
  std::vector<Match> find_all(std::string_view text) const;
  bool search(std::string_view text, size_t from, Match& match) const;
  bool search(std::string_view text) const;
  /// `with` may hold \1 … \9.
  std::string sub(std::string_view text, std::string_view with) const;
  template <class With>
  std::string sub_with(std::string_view text, With with) const {
    std::string out;
    size_t at = 0;
    for (const Match& match : find_all(text)) {
      out += text.substr(at, match.begin - at);
      out += with(match);
      at = match.end;
    }
    return out += text.substr(at);
  }
  /// re.split without groups.
  std::vector<std::string> split(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace backplane::text::py
