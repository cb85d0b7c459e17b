#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/python_text.h"

#include <pcre2.h>
#include <utf8proc.h>

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "text/jinja_value.h"
#include "text/unicode.h"

namespace backplane::text::py {
namespace {

utf8proc_category_t type_of(uint32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }

}  // namespace

std::string lower(std::string_view text) { return jinja::lower(jinja::Text(std::string(text))).bytes(); }
std::string upper(std::string_view text) { return jinja::upper(jinja::Text(std::string(text))).bytes(); }

bool is_space(uint32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string lstrip(std::string_view text) {
  uint32_t length = 0;
  while (!text.empty() && is_space(decode(text.data(), length))) text.remove_prefix(length);
  return std::string(text);
}
std::string rstrip(std::string_view text) {
  uint32_t length = 0;
  while (!text.empty() && is_space(decode_before(text.data() + text.size(), length))) text.remove_suffix(length);
  return std::string(text);
}
std::string strip(std::string_view text) { return lstrip(rstrip(text)); }

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const std::string& c : characters(text)) {
    uint32_t length;
    if (is_space(decode(c.data(), length))) {
      inside = false;
      continue;
    }
    if (!inside) words.emplace_back();
    words.back() += c;
    inside = true;
  }
  return words;
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (size_t at = 0;;) {
    const size_t end = text.find(separator, at);
    parts.emplace_back(text.substr(at, end - at));
    if (end == std::string_view::npos) return parts;
    at = end + separator.size();
  }
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  if (text.find(from) == std::string::npos) return text;
  std::string out;
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string::npos; at = found + from.size()) {
    out.append(text, at, found - at);
    out += to;
  }
  return out.append(text, at);
}
void replace_all(std::string& text, std::string_view from, std::string_view to) { text = replaced(std::move(text), from, to); }

bool contains(const std::vector<std::string>& list, std::string_view item) { return std::find(list.begin(), list.end(), item) != list.end(); }

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = std::min<size_t>(sequence_length(text[at]), text.size() - at);
    out.emplace_back(text.substr(at, length));
    at += length;
  }
  return out;
}
std::vector<uint32_t> code_points(std::string_view text) {
  std::vector<uint32_t> codes;
  uint32_t length;
  for (size_t at = 0; at < text.size(); at += length) codes.push_back(decode(text.data() + at, length));
  return codes;
}
std::string from_code_points(const std::vector<uint32_t>& codes) {
  std::string out;
  for (const uint32_t code : codes) append(out, code);
  return out;
}

std::string normalized(std::string_view text, Form form) {
  const bool compose = form == Form::nfc || form == Form::nfkc, compatible = form == Form::nfkc || form == Form::nfkd;
  const int options = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0);
  utf8proc_uint8_t* out = nullptr;
  const auto size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &out,
                                 static_cast<utf8proc_option_t>(options));
  if (size < 0) return std::string(text);
  std::string result(reinterpret_cast<const char*>(out), static_cast<size_t>(size));
  std::free(out);
  return result;
}

std::string_view category(uint32_t code) { return utf8proc_category_string(static_cast<utf8proc_int32_t>(code)); }
bool is_digit(uint32_t code) {
  if (code < 128) return code >= '0' && code <= '9';
  // Nd, and the superscripts, subscripts and circled digits that Python counts with them.
  return type_of(code) == UTF8PROC_CATEGORY_ND || code == 0xB2 || code == 0xB3 || code == 0xB9 || code == 0x2070 || (code >= 0x2074 && code <= 0x2079) ||
         (code >= 0x2080 && code <= 0x2089) || (code >= 0x2460 && code <= 0x2468) || (code >= 0x2474 && code <= 0x247C) ||
         (code >= 0x2488 && code <= 0x2490) || code == 0x24EA || (code >= 0x24F5 && code <= 0x24FD) || code == 0x24FF || (code >= 0x2776 && code <= 0x277E) ||
         (code >= 0x2780 && code <= 0x2788) || (code >= 0x278A && code <= 0x2792);
}
bool is_alpha(uint32_t code) {
  const auto type = type_of(code);
  return type >= UTF8PROC_CATEGORY_LU && type <= UTF8PROC_CATEGORY_LO;
}
bool is_alnum(uint32_t code) {
  const auto type = type_of(code);
  return is_alpha(code) || (type >= UTF8PROC_CATEGORY_ND && type <= UTF8PROC_CATEGORY_NO);
}
bool is_combining(uint32_t code) { return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class != 0; }

struct Regex::Impl {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};
  uint32_t groups = 1;
};

Regex::Regex(std::string_view pattern, bool ignore_case, bool multiline, bool dotall) : impl_(std::make_unique<Impl>()) {
  int error;
  PCRE2_SIZE offset;
  uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_ALLOW_EMPTY_CLASS | PCRE2_NO_UTF_CHECK;
  if (ignore_case) flags |= PCRE2_CASELESS;
  if (multiline) flags |= PCRE2_MULTILINE;
  if (dotall) flags |= PCRE2_DOTALL;
  impl_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), flags, &error, &offset, nullptr));
  if (!impl_->code) throw Error(ErrorCode::internal, concat("the pattern '", pattern, "' is wrong at byte ", offset));
  pcre2_jit_compile(impl_->code.get(), PCRE2_JIT_COMPLETE);
  uint32_t captures = 0;
  pcre2_pattern_info(impl_->code.get(), PCRE2_INFO_CAPTURECOUNT, &captures);
  impl_->groups = captures + 1;
}
Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

bool Regex::search(std::string_view text, size_t from, Match& match) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(pcre2_match_data_create_from_pattern(impl_->code.get(), nullptr),
                                                                               &pcre2_match_data_free);
  const int count = pcre2_match(impl_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK, data.get(), nullptr);
  if (count < 0) return false;
  const auto* range = pcre2_get_ovector_pointer(data.get());
  match.begin = range[0];
  match.end = range[1];
  match.groups.assign(impl_->groups, {});
  for (uint32_t i = 0; i < impl_->groups; ++i)
    if (range[2 * i] != PCRE2_UNSET) match.groups[i] = text.substr(range[2 * i], range[2 * i + 1] - range[2 * i]);
  return true;
}
bool Regex::search(std::string_view text) const {
  Match match;
  return search(text, 0, match);
}

std::vector<Regex::Match> Regex::find_all(std::string_view text) const {
  std::vector<Match> found;
  Match match;
  for (size_t at = 0; at <= text.size() && search(text, at, match);) {
    found.push_back(match);
    at = match.end;
    // An empty match: on by one character.
    if (match.end == match.begin) at += at < text.size() ? sequence_length(text[at]) : 1;
  }
  return found;
}

std::string Regex::sub(std::string_view text, std::string_view with) const {
  return sub_with(text, [&](const Match& match) {
    std::string out;
    for (size_t i = 0; i < with.size(); ++i) {
      if (with[i] == '\\' && i + 1 < with.size() && with[i + 1] >= '0' && with[i + 1] <= '9') {
        const auto group = static_cast<size_t>(with[++i] - '0');
        if (group < match.groups.size()) out += match.groups[group];
      } else {
        out += with[i];
      }
    }
    return out;
  });
}

std::vector<std::string> Regex::split(std::string_view text) const {
  std::vector<std::string> parts;
  size_t at = 0;
  for (const Match& match : find_all(text)) {
    parts.emplace_back(text.substr(at, match.begin - at));
    at = match.end;
  }
  parts.emplace_back(text.substr(at));
  return parts;
}

}  // namespace backplane::text::py
