#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backplane/base/strings.h"
#include "text/jinja_value.h"

namespace backplane::jinja {
namespace {

// Letters whose upper case is several letters (Unicode's SpecialCasing).
struct LongUpper {
  char32_t letter;
  std::u32string_view upper;
};
constexpr LongUpper kLongUpper[] = {
    {0x00DF, U"SS"},
    {0x0149, U"\x02BCN"},
    {0x01F0, U"J\x030C"},
    {0x0390, U"\x0399\x0308\x0301"},
    {0x03B0, U"\x03A5\x0308\x0301"},
    {0x0587, U"\x0535\x0552"},
    {0x1E96, U"H\x0331"},
    {0x1E97, U"T\x0308"},
    {0x1E98, U"W\x030A"},
    {0x1E99, U"Y\x030A"},
    {0x1E9A, U"A\x02BE"},
    {0x1F50, U"\x03A5\x0313"},
    {0x1F52, U"\x03A5\x0313\x0300"},
    {0x1F54, U"\x03A5\x0313\x0301"},
    {0x1F56, U"\x03A5\x0313\x0342"},
    {0x1F80, U"\x1F08\x0399"},
    {0x1F81, U"\x1F09\x0399"},
    {0x1F82, U"\x1F0A\x0399"},
    {0x1F83, U"\x1F0B\x0399"},
    {0x1F84, U"\x1F0C\x0399"},
    {0x1F85, U"\x1F0D\x0399"},
    {0x1F86, U"\x1F0E\x0399"},
    {0x1F87, U"\x1F0F\x0399"},
    {0x1F88, U"\x1F08\x0399"},
    {0x1F89, U"\x1F09\x0399"},
    {0x1F8A, U"\x1F0A\x0399"},
    {0x1F8B, U"\x1F0B\x0399"},
    {0x1F8C, U"\x1F0C\x0399"},
    {0x1F8D, U"\x1F0D\x0399"},
    {0x1F8E, U"\x1F0E\x0399"},
    {0x1F8F, U"\x1F0F\x0399"},
    {0x1F90, U"\x1F28\x0399"},
    {0x1F91, U"\x1F29\x0399"},
    {0x1F92, U"\x1F2A\x0399"},
    {0x1F93, U"\x1F2B\x0399"},
    {0x1F94, U"\x1F2C\x0399"},
    {0x1F95, U"\x1F2D\x0399"},
    {0x1F96, U"\x1F2E\x0399"},
    {0x1F97, U"\x1F2F\x0399"},
    {0x1F98, U"\x1F28\x0399"},
    {0x1F99, U"\x1F29\x0399"},
    {0x1F9A, U"\x1F2A\x0399"},
    {0x1F9B, U"\x1F2B\x0399"},
    {0x1F9C, U"\x1F2C\x0399"},
    {0x1F9D, U"\x1F2D\x0399"},
    {0x1F9E, U"\x1F2E\x0399"},
    {0x1F9F, U"\x1F2F\x0399"},
    {0x1FA0, U"\x1F68\x0399"},
    {0x1FA1, U"\x1F69\x0399"},
    {0x1FA2, U"\x1F6A\x0399"},
    {0x1FA3, U"\x1F6B\x0399"},
    {0x1FA4, U"\x1F6C\x0399"},
    {0x1FA5, U"\x1F6D\x0399"},
    {0x1FA6, U"\x1F6E\x0399"},
    {0x1FA7, U"\x1F6F\x0399"},
    {0x1FA8, U"\x1F68\x0399"},
    {0x1FA9, U"\x1F69\x0399"},
    {0x1FAA, U"\x1F6A\x0399"},
    {0x1FAB, U"\x1F6B\x0399"},
    {0x1FAC, U"\x1F6C\x0399"},
    {0x1FAD, U"\x1F6D\x0399"},
    {0x1FAE, U"\x1F6E\x0399"},
    {0x1FAF, U"\x1F6F\x0399"},
    {0x1FB2, U"\x1FBA\x0399"},
    {0x1FB3, U"\x0391\x0399"},
    {0x1FB4, U"\x0386\x0399"},
    {0x1FB6, U"\x0391\x0342"},
    {0x1FB7, U"\x0391\x0342\x0399"},
    {0x1FBC, U"\x0391\x0399"},
    {0x1FC2, U"\x1FCA\x0399"},
    {0x1FC3, U"\x0397\x0399"},
    {0x1FC4, U"\x0389\x0399"},
    {0x1FC6, U"\x0397\x0342"},
    {0x1FC7, U"\x0397\x0342\x0399"},
    {0x1FCC, U"\x0397\x0399"},
    {0x1FD2, U"\x0399\x0308\x0300"},
    {0x1FD3, U"\x0399\x0308\x0301"},
    {0x1FD6, U"\x0399\x0342"},
    {0x1FD7, U"\x0399\x0308\x0342"},
    {0x1FE2, U"\x03A5\x0308\x0300"},
    {0x1FE3, U"\x03A5\x0308\x0301"},
    {0x1FE4, U"\x03A1\x0313"},
    {0x1FE6, U"\x03A5\x0342"},
    {0x1FE7, U"\x03A5\x0308\x0342"},
    {0x1FF2, U"\x1FFA\x0399"},
    {0x1FF3, U"\x03A9\x0399"},
    {0x1FF4, U"\x038F\x0399"},
    {0x1FF6, U"\x03A9\x0342"},
    {0x1FF7, U"\x03A9\x0342\x0399"},
    {0x1FFC, U"\x03A9\x0399"},
    {0xFB00, U"FF"},
    {0xFB01, U"FI"},
    {0xFB02, U"FL"},
    {0xFB03, U"FFI"},
    {0xFB04, U"FFL"},
    {0xFB05, U"ST"},
    {0xFB06, U"ST"},
    {0xFB13, U"\x0544\x0546"},
    {0xFB14, U"\x0544\x0535"},
    {0xFB15, U"\x0544\x053B"},
    {0xFB16, U"\x054E\x0546"},
    {0xFB17, U"\x0544\x053D"},
};

const LongUpper* long_upper(char32_t c) {
  const auto* found = std::lower_bound(std::begin(kLongUpper), std::end(kLongUpper), c,
                                       [](const LongUpper& entry, char32_t letter) { return entry.letter < letter; });
  return found != std::end(kLongUpper) && found->letter == c ? found : nullptr;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_cased(char32_t c) {
  const auto type = category(c);
  return type == UTF8PROC_CATEGORY_LU || type == UTF8PROC_CATEGORY_LL || type == UTF8PROC_CATEGORY_LT ||
         utf8::is_upper(c) || utf8::is_lower(c);
}

char32_t simple_upper(char32_t c) { return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))); }
char32_t simple_lower(char32_t c) { return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))); }

void append_upper(std::string& out, char32_t c) {
  if (const auto* entry = long_upper(c)) {
    for (const char32_t letter : entry->upper) utf8::append(out, letter);
  } else {
    utf8::append(out, simple_upper(c));
  }
}

void append_title(std::string& out, char32_t c) {
  const auto title = static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
  const auto* entry = title == c || c == 0xDF ? long_upper(c) : nullptr;  // utf8proc gives ß the capital ẞ
  if (!entry) return utf8::append(out, title);
  for (size_t i = 0; i < entry->upper.size(); ++i)
    utf8::append(out, i ? simple_lower(entry->upper[i]) : entry->upper[i]);
}

void append_lower(std::string& out, std::string_view text, size_t begin, size_t end, char32_t c) {
  if (c == 0x130) {
    utf8::append(out, 'i');
    return utf8::append(out, 0x307);
  }
  if (c == 0x3A3) {  // a sigma that ends a word
    const auto ignorable = [](char32_t letter) {
      const auto type = category(letter);
      return type == UTF8PROC_CATEGORY_MN || type == UTF8PROC_CATEGORY_ME || type == UTF8PROC_CATEGORY_CF ||
             type == UTF8PROC_CATEGORY_LM || type == UTF8PROC_CATEGORY_SK || letter == '\'' || letter == '.' ||
             letter == ':' || letter == 0xB7 || letter == 0x2019;
    };
    bool before = false, after = false;
    for (size_t at = begin; at > 0;) {
      size_t start = utf8::previous(text, at);
      at = start;
      const char32_t letter = utf8::decode(text, start);
      if (ignorable(letter)) continue;
      before = is_cased(letter);
      break;
    }
    for (size_t at = end; at < text.size();) {
      const char32_t letter = utf8::decode(text, at);
      if (ignorable(letter)) continue;
      after = is_cased(letter);
      break;
    }
    return utf8::append(out, before && !after ? 0x3C2 : 0x3C3);
  }
  utf8::append(out, simple_lower(c));
}

// Applies `change(out, begin, end, c)` to each code point; what it writes has the origin of the code point.
template <class Change>
Text map_text(const Text& text, Change change) {
  charge_bytes(text.size());
  Text result;
  std::string piece;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = utf8::decode(text.bytes(), at);
    piece.clear();
    change(piece, begin, at, c);
    result.append(piece, text.user_at(begin));
  }
  return result;
}

Text repeat(std::string_view unit, int64_t count) {
  Text out;
  if (count <= 0) return out;
  if (unit.size() * static_cast<uint64_t>(std::min<int64_t>(count, INT32_MAX)) > limits::kTemplateOutputBytes) {
    limit_error(concat("the template makes a text of more than ", limits::kTemplateOutputBytes, " bytes"));
  }
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += unit;
  out.append(text);
  return out;
}

}  // namespace

namespace utf8 {

char32_t decode(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  if (first < 0x80) return text[at++] & 0x7F;
  const size_t more = first >= 0xF5 ? 0 : first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
  if (more == 0 || at + more >= text.size()) return 0xDC00 + byte(at++);
  char32_t c = first & (0x3Fu >> more);
  for (size_t i = 1; i <= more; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return 0xDC00 + byte(at++);
    c = c << 6 | (byte(at + i) & 0x3Fu);
  }
  at += more + 1;
  return c;
}

void append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

size_t count(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

size_t offset(std::string_view text, size_t index) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if ((text[at] & 0xC0) != 0x80 && index-- == 0) return at;
  }
  return at;
}

size_t previous(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (text[at] & 0xC0) == 0x80);
  return at;
}

bool is_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_alpha(char32_t c) {
  if (c < 0x80) return (c | 32) >= 'a' && (c | 32) <= 'z';
  const auto type = category(c);
  return type >= UTF8PROC_CATEGORY_LU && type <= UTF8PROC_CATEGORY_LO;
}

bool is_word(char32_t c) {
  if (c < 0x80) return c == '_' || (c >= '0' && c <= '9') || is_alpha(c);
  const auto type = category(c);
  return is_alpha(c) || (type >= UTF8PROC_CATEGORY_ND && type <= UTF8PROC_CATEGORY_NO);
}

bool is_upper(char32_t c) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0; }
bool is_lower(char32_t c) { return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0; }

}  // namespace utf8

Text upper(const Text& text) {
  return map_text(text, [](std::string& out, size_t, size_t, char32_t c) { append_upper(out, c); });
}
Text lower(const Text& text) {
  return map_text(text, [&](std::string& out, size_t begin, size_t end, char32_t c) {
    append_lower(out, text.bytes(), begin, end, c);
  });
}
Text capitalize(const Text& text) {
  return map_text(text, [&](std::string& out, size_t begin, size_t end, char32_t c) {
    if (begin == 0) {
      append_title(out, c);
    } else {
      append_lower(out, text.bytes(), begin, end, c);
    }
  });
}

std::pair<size_t, size_t> strip_range(const Text& text, const Text* chars, bool left, bool right) {
  const std::string& bytes = text.bytes();
  std::u32string set;
  for (size_t at = 0; chars && at < chars->size();) set += utf8::decode(chars->bytes(), at);
  const auto strips = [&](char32_t c) { return chars ? set.find(c) != std::u32string::npos : utf8::is_space(c); };
  size_t begin = 0, end = bytes.size();
  while (left && begin < end) {
    size_t next = begin;
    if (!strips(utf8::decode(bytes, next))) break;
    charge(set.size() / 8);
    begin = next;
  }
  while (right && end > begin) {
    const size_t last = utf8::previous(bytes, end);
    size_t at = last;
    if (!strips(utf8::decode(bytes, at))) break;
    charge(set.size() / 8);
    end = last;
  }
  return {begin, end};
}

Text strip(const Text& text) {
  const auto [begin, end] = strip_range(text, nullptr, true, true);
  return text.slice(begin, end);
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  const std::string& bytes = text.bytes();
  std::vector<Text> lines;
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    size_t end = at;
    while (at < bytes.size()) {
      end = at;
      const char32_t c = utf8::decode(bytes, at);
      if ((c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029) {
        if (c == '\r' && at < bytes.size() && bytes[at] == '\n') ++at;
        break;
      }
      end = at;
    }
    charge(1);
    lines.push_back(text.slice(begin, keep_ends ? at : end));
  }
  return lines;
}

Text replace(const Text& text, const Text& from, const Text& to, int64_t count) {
  const std::string& bytes = text.bytes();
  charge_bytes(bytes.size());
  Text out;
  size_t at = 0;
  if (from.empty()) {  // between all code points
    for (; count != 0; --count) {
      charge(1);
      out.append(to);
      if (at >= bytes.size()) return out;
      const size_t begin = at;
      utf8::decode(bytes, at);
      out.append(text, begin, at);
    }
  }
  for (size_t found; count != 0 && (found = bytes.find(from.bytes(), at)) != std::string::npos; --count) {
    charge(1);
    out.append(text, at, found);
    out.append(to);
    at = found + from.size();
  }
  out.append(text, at, bytes.size());
  return out;
}

Text escape_html(const Text& text) {
  return map_text(text, [](std::string& out, size_t, size_t, char32_t c) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        utf8::append(out, c);
    }
  });
}

// --- numbers as text, for % and format ---

namespace {

struct Format {
  std::string fill = " ";
  char align = 0;  // < > ^ =
  char sign = '-';
  bool alternate = false, zero = false;
  int64_t width = 0;
  char grouping = 0;
  int precision = -1;
  char type = 0;
};

constexpr int kMaximumPrecision = 4096;

Text pad(const Text& body, const Format& format, char default_align, size_t sign_size = 0) {
  const auto size = static_cast<int64_t>(utf8::count(body.bytes()));
  const int64_t missing = format.width - size;
  if (missing <= 0) return body;
  const char align = format.align ? format.align : default_align;
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  Text out;
  if (align == '=') {
    out.append(body, 0, sign_size);
    out.append(repeat(format.fill, missing));
    out.append(body, sign_size, body.size());
  } else {
    out.append(repeat(format.fill, left));
    out.append(body);
    out.append(repeat(format.fill, missing - left));
  }
  return out;
}

std::string in_base(const BigInt& magnitude, int base, bool upper) {
  if (magnitude == 0) return "0";
  if (base == 10) return int_text(Value::integer(magnitude));
  std::string digits;
  const unsigned shift = base == 16 ? 4 : base == 8 ? 3 : 1;
  for (BigInt rest = magnitude; rest != 0; rest >>= shift) {
    const auto digit = static_cast<unsigned>(rest & ((1u << shift) - 1));
    digits += digit < 10 ? static_cast<char>('0' + digit) : static_cast<char>((upper ? 'A' : 'a') + digit - 10);
    charge(1);
  }
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string grouped(const std::string& digits, char separator, size_t every, size_t at_least) {
  std::string out;
  size_t written = 0;
  for (size_t i = 0; i < digits.size() || (written < at_least && out.size() < at_least); ++i) {
    if (written && written % every == 0) {
      if (i >= digits.size() && out.size() + 1 >= at_least) {
        out += separator;
        out += '0';
        break;
      }
      out += separator;
    }
    out += i < digits.size() ? digits[digits.size() - 1 - i] : '0';
    ++written;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::string sign_text(bool negative, char sign) { return negative ? "-" : sign == '+' ? "+" : sign == ' ' ? " " : ""; }

// The digits of a finite or infinite float without its sign.
std::string real_digits(double value, char type, int precision, bool alternate) {
  const bool upper = type == 'E' || type == 'F' || type == 'G';
  std::string text;
  if (std::isnan(value)) {
    text = "nan";
  } else if (std::isinf(value)) {
    text = "inf";
  } else {
    const char lower_type = static_cast<char>(type | 32);
    const char format[] = {'%', '#', '.', '*', lower_type, 0};
    const char plain[] = {'%', '.', '*', lower_type, 0};
    const char* chosen = alternate ? format : plain;
    const int size = std::snprintf(nullptr, 0, chosen, precision, value);
    text.resize(static_cast<size_t>(size));
    std::snprintf(text.data(), text.size() + 1, chosen, precision, value);
  }
  if (upper)
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

Text format_integer(const BigInt& value, const Format& format) {
  const bool negative = value < 0;
  int base = 10;
  std::string prefix;
  switch (format.type) {
    case 'x':
    case 'X':
      base = 16;
      break;
    case 'o':
      base = 8;
      break;
    case 'b':
      base = 2;
      break;
    default:
      break;
  }
  if (format.alternate && base != 10) prefix = std::string("0") + format.type;
  std::string digits = in_base(boost::multiprecision::abs(value), base, format.type == 'X');
  const std::string sign = sign_text(negative, format.sign) + prefix;
  if (format.grouping) {
    const bool fill = format.align == '=' && format.fill == "0" && format.width > 0;
    const auto least =
        fill && format.width > static_cast<int64_t>(sign.size()) ? static_cast<size_t>(format.width) - sign.size() : 0;
    if (least > limits::kTemplateOutputBytes) limit_error("a number is padded beyond the largest text");
    digits = grouped(digits, format.grouping, base == 10 ? 3 : 4, least);
  }
  Text body;
  body.append(sign + digits);
  return pad(body, format, '>', sign.size());
}

Text format_real(double value, const Format& format) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  std::string digits;
  char type = format.type;
  int precision = format.precision;
  const double magnitude = std::abs(value);
  if (!type && precision < 0) {
    digits = python_float(magnitude);
  } else if (type == '%') {
    digits = real_digits(magnitude * 100, 'f', precision < 0 ? 6 : precision, format.alternate) + "%";
  } else if (!type) {
    // Like g, but with a digit after the point.
    digits = real_digits(magnitude, 'g', precision == 0 ? 1 : precision, format.alternate);
    if (std::isfinite(magnitude) && digits.find('e') == std::string::npos && digits.find('.') == std::string::npos) {
      if (static_cast<int>(digits.size()) >= precision && precision > 0 &&
          static_cast<int>(digits.size()) > precision - 1) {
        digits = real_digits(magnitude, 'e', precision - 1, false);
        const size_t e = digits.find('e');
        std::string mantissa = digits.substr(0, e);
        if (mantissa.find('.') != std::string::npos) {
          mantissa.erase(mantissa.find_last_not_of('0') + 1);
          if (mantissa.ends_with('.')) mantissa.pop_back();
        }
        digits = mantissa + digits.substr(e);
      } else {
        digits += ".0";
      }
    }
  } else {
    if (type == 'n') type = 'g';
    digits = real_digits(magnitude, type,
                         precision < 0                          ? 6
                         : (type | 32) == 'g' && precision == 0 ? 1
                                                                : precision,
                         format.alternate);
  }
  const std::string sign = sign_text(negative, format.sign);
  if (format.grouping && std::isfinite(value)) {
    const size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
    const std::string rest = digits.substr(whole);
    const bool fill = format.align == '=' && format.fill == "0";
    const auto used = static_cast<int64_t>(sign.size() + rest.size());
    const auto least = fill && format.width > used ? static_cast<size_t>(format.width - used) : 0;
    if (least > limits::kTemplateOutputBytes) limit_error("a number is padded beyond the largest text");
    digits = grouped(digits.substr(0, whole), format.grouping, 3, least) + rest;
  }
  Text body;
  body.append(sign + digits);
  return pad(body, format, '>', sign.size());
}

Format parse_format(const Text& specification, const std::string& type) {
  const std::string_view text = specification.bytes();
  Format format;
  size_t at = 0;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  if (!text.empty()) {
    size_t next = 0;
    utf8::decode(text, next);
    if (next < text.size() && is_align(text[next])) {
      format.fill = std::string(text.substr(0, next));
      format.align = text[next];
      at = next + 1;
    } else if (is_align(text[0])) {
      format.align = text[0];
      at = 1;
    }
  }
  const auto eat = [&](char c) { return at < text.size() && text[at] == c && (++at, true); };
  if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) format.sign = text[at++];
  eat('z');
  format.alternate = eat('#');
  if (eat('0')) {
    format.zero = true;
    if (!format.align) {
      format.fill = "0";
      format.align = '=';
    }
  }
  const auto number = [&](int64_t limit, const char* what) {
    int64_t value = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      value = value * 10 + (text[at] - '0');
      if (value > limit) {
        if (value > INT32_MAX) value_error("Too many decimal digits in format string");
        if (*what == 'p') limit_error(concat("a precision of more than ", limit, " digits"));
      }
    }
    return value;
  };
  format.width = number(INT32_MAX, "width");
  if (at < text.size() && (text[at] == ',' || text[at] == '_')) format.grouping = text[at++];
  if (eat('.')) {
    if (at >= text.size() || text[at] < '0' || text[at] > '9') value_error("Format specifier missing precision");
    format.precision = static_cast<int>(number(type == "str" ? INT32_MAX : kMaximumPrecision, "precision"));
  }
  if (at + 1 < text.size())
    value_error(concat("Invalid format specifier '", text, "' for object of type '", type, "'"));
  if (at < text.size()) format.type = text[at];
  return format;
}

}  // namespace

Text format_value(const Value& value, const Text& specification) {
  if (specification.empty()) return str(value);
  const std::string type = type_name(value);
  const auto unknown = [&](char code) {
    value_error(concat("Unknown format code '", std::string(1, code), "' for object of type '", type, "'"));
  };
  if (value.is_string()) {
    Format format = parse_format(specification, "str");
    if (format.type && format.type != 's') unknown(format.type);
    if (format.grouping) value_error(concat("Cannot specify '", std::string(1, format.grouping), "' with 's'."));
    if (format.sign != '-') value_error("Sign not allowed in string format specifier");
    if (format.align == '=' && !format.zero) value_error("'=' alignment not allowed in string format specifier");
    if (format.align == '=') format.align = '<';
    Text body = value.text();
    if (format.precision >= 0) body = body.slice(0, utf8::offset(body.bytes(), static_cast<size_t>(format.precision)));
    return pad(body, format, '<');
  }
  if (!value.is_number()) type_error(concat("unsupported format string passed to ", type, ".__format__"));
  const Format format = parse_format(specification, type);
  if (value.is_int()) {
    switch (format.type) {
      case 0:
      case 'd':
      case 'n':
      case 'x':
      case 'X':
      case 'o':
      case 'b':
        if (format.precision >= 0) value_error("Precision not allowed in integer format specifier");
        return format_integer(big(value), format);
      case 'c': {
        const int64_t code = to_index(value);
        if (code < 0 || code > 0x10FFFF) fail("OverflowError", "%c arg not in range(0x110000)");
        std::string text;
        utf8::append(text, static_cast<char32_t>(code));
        return pad(Text(text), format, '<');
      }
      default:
        break;
    }
  }
  if (format.type && !std::strchr("eEfFgGn%", format.type)) unknown(format.type);
  return format_real(to_real(value), format);
}

Value printf_format(const Value& format_string, const Value& arguments) {
  const Text& source = format_string.text();
  const std::string& bytes = source.bytes();
  const bool is_tuple = arguments.is(Kind::tuple);
  size_t used = 0;
  bool mapped = false;
  const auto next_argument = [&]() -> Value {
    if (!is_tuple) {
      if (used++) type_error("not enough arguments for format string");
      return arguments;
    }
    if (used >= arguments.items().size()) type_error("not enough arguments for format string");
    return arguments.items()[used++];
  };
  Text out;
  for (size_t at = 0; at < bytes.size();) {
    const size_t percent = bytes.find('%', at);
    if (percent == std::string::npos) {
      out.append(source, at, bytes.size());
      break;
    }
    charge(1);
    out.append(source, at, percent);
    at = percent + 1;
    const auto incomplete = [&] { value_error("incomplete format"); };
    std::optional<Value> keyed;
    if (at < bytes.size() && bytes[at] == '(') {
      if (!arguments.is(Kind::dict)) type_error("format requires a mapping");
      int depth = 1;
      const size_t begin = ++at;
      for (; at < bytes.size() && depth > 0; ++at) depth += bytes[at] == '(' ? 1 : bytes[at] == ')' ? -1 : 0;
      if (depth > 0) value_error("incomplete format key");
      const std::string key = bytes.substr(begin, at - 1 - begin);
      const Value* value = arguments.dict().find(std::string_view(key));
      if (!value) fail("KeyError", quote(key));
      keyed = *value;
      mapped = true;
    }
    Format format;
    bool left = false;
    for (; at < bytes.size() && std::strchr("-+ #0", bytes[at]) && bytes[at]; ++at) {
      switch (bytes[at]) {
        case '-':
          left = true;
          break;
        case '+':
          format.sign = '+';
          break;
        case ' ':
          if (format.sign != '+') format.sign = ' ';
          break;
        case '#':
          format.alternate = true;
          break;
        default:
          format.zero = true;
      }
    }
    const auto number = [&]() -> int64_t {
      if (at < bytes.size() && bytes[at] == '*') {
        ++at;
        const Value value = next_argument();
        if (!value.is_int()) type_error("* wants int");
        return to_index(value);
      }
      int64_t value = 0;
      for (; at < bytes.size() && bytes[at] >= '0' && bytes[at] <= '9'; ++at) {
        value = value * 10 + (bytes[at] - '0');
        if (value > INT32_MAX) value_error("width too big");
      }
      return value;
    };
    format.width = number();
    if (format.width < 0) {
      left = true;
      format.width = -std::max<int64_t>(format.width, -INT32_MAX);
    }
    int64_t precision = -1;
    if (at < bytes.size() && bytes[at] == '.') {
      ++at;
      precision = std::max<int64_t>(number(), 0);
    }
    while (at < bytes.size() && (bytes[at] == 'l' || bytes[at] == 'h' || bytes[at] == 'L')) ++at;
    if (at >= bytes.size()) incomplete();
    const char type = bytes[at++];
    if (type == '%') {
      out.append("%");
      continue;
    }
    const Value value = keyed ? *keyed : next_argument();
    Text body;
    size_t sign_size = 0;
    bool numeric = true;
    switch (type) {
      case 's':
      case 'r':
      case 'a':
        body = type == 's' ? str(value) : repr(value);
        if (precision >= 0) body = body.slice(0, utf8::offset(body.bytes(), static_cast<size_t>(precision)));
        numeric = false;
        break;
      case 'c':
        numeric = false;
        if (value.is_string()) {
          if (utf8::count(value.bytes()) != 1) type_error("%c requires int or char");
          body = value.text();
        } else {
          if (!value.is_int()) type_error("%c requires int or char");
          const int64_t code = to_index(value);
          if (code < 0 || code > 0x10FFFF) fail("OverflowError", "%c arg not in range(0x110000)");
          std::string text;
          utf8::append(text, static_cast<char32_t>(code));
          body.append(text);
        }
        break;
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X': {
        if (value.is_undefined()) fail_undefined(value);
        if (!value.is_number() || (!value.is_int() && (type == 'o' || (type | 32) == 'x'))) {
          type_error(concat(
              "%", std::string(1, type),
              " format: ", (type == 'o' || (type | 32) == 'x') ? "an integer is required" : "a real number is required",
              ", not ", type_name(value)));
        }
        const BigInt integer = value.is_int() ? big(value) : big(floor_to_int(std::trunc(value.real())));
        const int base = type == 'o' ? 8 : (type | 32) == 'x' ? 16 : 10;
        std::string digits = in_base(boost::multiprecision::abs(integer), base, type == 'X');
        if (precision > kMaximumPrecision)
          limit_error(concat("a precision of more than ", kMaximumPrecision, " digits"));
        if (static_cast<int64_t>(digits.size()) < precision)
          digits.insert(0, static_cast<size_t>(precision) - digits.size(), '0');
        std::string sign = sign_text(integer < 0, format.sign);
        if (format.alternate && base != 10) sign += base == 8 ? "0o" : std::string("0") + type;
        sign_size = sign.size();
        body.append(sign + digits);
        break;
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': {
        if (value.is_undefined()) fail_undefined(value);
        if (!value.is_number()) type_error(concat("must be real number, not ", type_name(value)));
        if (precision > kMaximumPrecision)
          limit_error(concat("a precision of more than ", kMaximumPrecision, " digits"));
        const double real = to_real(value);
        const std::string sign = sign_text(std::signbit(real) && !std::isnan(real), format.sign);
        const int digits = precision < 0 ? 6 : (type | 32) == 'g' && precision == 0 ? 1 : static_cast<int>(precision);
        sign_size = sign.size();
        body.append(sign + real_digits(std::abs(real), type, digits, format.alternate));
        break;
      }
      default:
        value_error(concat("unsupported format character '", std::string(1, type), "' (0x",
                           in_base(BigInt(static_cast<unsigned char>(type)), 16, false), ") at index ",
                           utf8::count(std::string_view(bytes).substr(0, at - 1))));
    }
    if (numeric && format.zero && !left) {
      format.fill = "0";
      format.align = '=';
    } else {
      format.align = left ? '<' : '>';
    }
    out.append(pad(body, format, '>', sign_size));
  }
  if (!mapped && (is_tuple ? used < arguments.items().size()
                           : used == 0 && !arguments.is(Kind::dict) && !arguments.is(Kind::list))) {
    type_error("not all arguments converted during string formatting");
  }
  return Value::string(std::move(out), format_string.markup());
}

// --- methods ---

namespace {

using Method = Value (*)(const Value& self, Arguments& arguments);

Value text_value(const Value& self, Text text) { return Value::string(std::move(text), self.markup()); }

const Text& need_text(const Value& value, const char* what = "must be str") {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_string()) type_error(concat(what, ", not ", type_name(value)));
  return value.text();
}

// The bytes of text[start:end] with Python's rules for both; nullopt where start lies behind the end of the text.
std::optional<std::pair<size_t, size_t>> byte_range(const std::string& bytes, const std::optional<Value>& start,
                                                    const std::optional<Value>& end) {
  const auto size = static_cast<int64_t>(utf8::count(bytes));
  const auto place = [&](const std::optional<Value>& value, int64_t fallback) {
    if (!value || value->is_none()) return fallback;
    int64_t at = to_index(*value, "slice indices must be integers");
    if (at < 0) at = std::max<int64_t>(at + size, 0);
    return at;
  };
  const int64_t from = place(start, 0), to = std::min(place(end, size), size);
  if (from > size || from > to) return std::nullopt;
  charge_bytes(bytes.size());
  return std::pair{utf8::offset(bytes, static_cast<size_t>(from)), utf8::offset(bytes, static_cast<size_t>(to))};
}

Value find_in(const Value& self, Arguments& arguments, bool last, bool must) {
  const auto values = bind("find", arguments, {"sub", "=start", "=end"});
  const std::string& bytes = self.bytes();
  const std::string& needle = need_text(*values[0]).bytes();
  if (const auto range = byte_range(bytes, values[1], values[2])) {
    const std::string_view part = std::string_view(bytes).substr(range->first, range->second - range->first);
    const size_t found = last ? part.rfind(needle) : part.find(needle);
    if (found != std::string_view::npos) return utf8::count(std::string_view(bytes).substr(0, range->first + found));
  }
  if (must) value_error("substring not found");
  return -1;
}

Value affix(const Value& self, Arguments& arguments, bool front) {
  const auto values = bind(front ? "startswith" : "endswith", arguments, {"prefix", "=start", "=end"});
  const auto range = byte_range(self.bytes(), values[1], values[2]);
  const auto matches = [&](const Value& part) {
    const std::string& text = need_text(part, front ? "startswith first arg must be str or a tuple of str"
                                                    : "endswith first arg must be str or a tuple of str")
                                  .bytes();
    if (!range) return false;
    const std::string_view body = std::string_view(self.bytes()).substr(range->first, range->second - range->first);
    return front ? body.starts_with(text) : body.ends_with(text);
  };
  if (!values[0]->is(Kind::tuple)) return matches(*values[0]);
  return std::any_of(values[0]->items().begin(), values[0]->items().end(), matches);
}

Value strip_method(const Value& self, Arguments& arguments, bool left, bool right) {
  const auto values = bind("strip", arguments, {"=chars"});
  const Text* chars = nullptr;
  if (values[0] && !values[0]->is_none()) {
    if (values[0]->is_undefined()) type_error("strip arg must be None or str");
    chars = &need_text(*values[0], "strip arg must be None or str");
  }
  charge_bytes(self.bytes().size());
  const auto [begin, end] = strip_range(self.text(), chars, left, right);
  return text_value(self, self.text().slice(begin, end));
}

std::vector<Text> split_spaces(const Text& text, int64_t limit, bool from_right) {
  const std::string& bytes = text.bytes();
  std::vector<Text> parts;
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t at = 0; at < bytes.size();) {
    const size_t begin = at;
    const bool space = utf8::is_space(utf8::decode(bytes, at));
    if (space) continue;
    if (!words.empty() && words.back().second == begin) {
      words.back().second = at;
    } else {
      charge(1);
      words.emplace_back(begin, at);
    }
  }
  const size_t all = words.size();
  const size_t cuts = limit < 0 ? all : std::min<size_t>(static_cast<size_t>(limit), all);
  if (from_right) {
    size_t rest = all > cuts ? all - cuts : 0;
    // What is left of the cuts keeps the blanks at its front.
    if (rest) parts.push_back(text.slice(0, words[rest - 1].second));
    for (size_t i = rest; i < all; ++i) parts.push_back(text.slice(words[i].first, words[i].second));
    return parts;
  }
  for (size_t i = 0; i < all; ++i) {
    if (i == cuts) {
      parts.push_back(text.slice(words[i].first, bytes.size()));
      break;
    }
    parts.push_back(text.slice(words[i].first, words[i].second));
  }
  return parts;
}

std::vector<Text> split_at(const Text& text, const Text& separator, int64_t limit, bool from_right) {
  if (separator.empty()) value_error("empty separator");
  const std::string& bytes = text.bytes();
  std::vector<Text> parts;
  if (from_right) {
    size_t end = bytes.size();
    for (size_t found; limit != 0 && end >= separator.size() &&
                       (found = bytes.rfind(separator.bytes(), end - separator.size())) != std::string::npos;
         --limit) {
      charge(1);
      parts.push_back(text.slice(found + separator.size(), end));
      end = found;
    }
    parts.push_back(text.slice(0, end));
    std::reverse(parts.begin(), parts.end());
    return parts;
  }
  size_t at = 0;
  for (size_t found; limit != 0 && (found = bytes.find(separator.bytes(), at)) != std::string::npos; --limit) {
    charge(1);
    parts.push_back(text.slice(at, found));
    at = found + separator.size();
  }
  parts.push_back(text.slice(at, bytes.size()));
  return parts;
}

Value text_list(const Value& self, std::vector<Text> parts) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (Text& part : parts) items.push_back(text_value(self, std::move(part)));
  return Value::list(std::move(items));
}

Value split_method(const Value& self, Arguments& arguments, bool from_right) {
  const auto values = bind(from_right ? "rsplit" : "split", arguments, {"=sep", "=maxsplit"});
  const int64_t limit = values[1] ? to_index(*values[1]) : -1;
  charge_bytes(self.bytes().size());
  if (!values[0] || values[0]->is_none()) return text_list(self, split_spaces(self.text(), limit, from_right));
  return text_list(self, split_at(self.text(), need_text(*values[0]), limit, from_right));
}

Value partition_method(const Value& self, Arguments& arguments, bool from_right) {
  const auto values = bind("partition", arguments, {"sep"});
  const Text &text = self.text(), &separator = need_text(*values[0]);
  if (separator.empty()) value_error("empty separator");
  charge_bytes(text.size());
  const size_t found = from_right ? text.bytes().rfind(separator.bytes()) : text.bytes().find(separator.bytes());
  const Value empty = text_value(self, {});
  if (found == std::string::npos)
    return from_right ? Value::tuple({empty, empty, self}) : Value::tuple({self, empty, empty});
  return Value::tuple({text_value(self, text.slice(0, found)), *values[0],
                       text_value(self, text.slice(found + separator.size(), text.size()))});
}

Value justify(const Value& self, Arguments& arguments, char align) {
  const auto values = bind("center", arguments, {"width", "=fillchar"});
  Format format;
  format.width = to_index(*values[0]);
  format.align = align;
  if (values[1]) {
    format.fill = need_text(*values[1]).bytes();
    if (utf8::count(format.fill) != 1) type_error("The fill character must be exactly one character long");
  }
  if (align == '^') {  // Python puts the odd blank of an odd width on the left
    const auto size = static_cast<int64_t>(utf8::count(self.bytes()));
    const int64_t missing = format.width - size;
    if (missing <= 0) return self;
    const int64_t left = missing / 2 + (missing & format.width & 1);
    Text out;
    out.append(repeat(format.fill, left));
    out.append(self.text());
    out.append(repeat(format.fill, missing - left));
    return text_value(self, std::move(out));
  }
  return text_value(self, pad(self.text(), format, '<'));
}

template <class Test>
Value all_of(const Value& self, Arguments& arguments, Test test, bool when_empty = false) {
  bind("method", arguments, {});
  const std::string& bytes = self.bytes();
  charge_bytes(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    if (!test(utf8::decode(bytes, at))) return false;
  }
  return !bytes.empty() || when_empty;
}

bool is_decimal(char32_t c) { return c < 0x80 ? c >= '0' && c <= '9' : category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) {
  return is_decimal(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ||
         (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468) || (c >= 0x2474 && c <= 0x247C) ||
         (c >= 0x2488 && c <= 0x2490);
}

Value cased(const Value& self, Arguments& arguments, bool upper) {
  bind("method", arguments, {});
  bool any = false;
  for (size_t at = 0; at < self.bytes().size();) {
    const char32_t c = utf8::decode(self.bytes(), at);
    if (upper ? utf8::is_lower(c) : utf8::is_upper(c)) return false;
    if (category(c) == UTF8PROC_CATEGORY_LT) return false;
    any |= upper ? utf8::is_upper(c) : utf8::is_lower(c);
  }
  return any;
}

Value title_method(const Value& self, Arguments& arguments) {
  bind("title", arguments, {});
  bool inside = false;
  return text_value(self, map_text(self.text(), [&](std::string& out, size_t begin, size_t end, char32_t c) {
                      if (inside) {
                        append_lower(out, self.bytes(), begin, end, c);
                      } else {
                        append_title(out, c);
                      }
                      inside = is_cased(c);
                    }));
}

Value is_title(const Value& self, Arguments& arguments) {
  bind("istitle", arguments, {});
  bool any = false, previous_cased = false;
  for (size_t at = 0; at < self.bytes().size();) {
    const char32_t c = utf8::decode(self.bytes(), at);
    if (utf8::is_upper(c)) {
      if (previous_cased) return false;
      previous_cased = any = true;
    } else if (utf8::is_lower(c)) {
      if (!previous_cased) return false;
      any = true;
    } else {
      previous_cased = false;
    }
  }
  return any;
}

Value is_identifier(const Value& self, Arguments& arguments) {
  bind("isidentifier", arguments, {});
  size_t at = 0;
  if (self.bytes().empty()) return false;
  const char32_t first = utf8::decode(self.bytes(), at);
  if (first != '_' && !utf8::is_alpha(first)) return false;
  while (at < self.bytes().size()) {
    if (!utf8::is_word(utf8::decode(self.bytes(), at))) return false;
  }
  return true;
}

// A replacement field of str.format: value, conversion, specification.
class Formatter {
 public:
  Formatter(const Text& source, Arguments& arguments) : source_(source), arguments_(arguments) {}

  Text run() { return expand(source_, 2); }

 private:
  Text expand(const Text& text, int depth) {
    if (depth < 0) value_error("Max string recursion exceeded");
    const std::string& bytes = text.bytes();
    Text out;
    size_t at = 0;
    while (at < bytes.size()) {
      const size_t brace = bytes.find_first_of("{}", at);
      if (brace == std::string::npos) {
        out.append(text, at, bytes.size());
        break;
      }
      charge(1);
      out.append(text, at, brace);
      at = brace + 1;
      if (at < bytes.size() && bytes[at] == bytes[brace]) {
        out.append(text, brace, at);
        ++at;
        continue;
      }
      if (bytes[brace] == '}') value_error("Single '}' encountered in format string");
      if (at >= bytes.size()) value_error("Single '{' encountered in format string");
      int level = 1;
      const size_t begin = at;
      bool in_index = false;
      for (; at < bytes.size(); ++at) {
        const char c = bytes[at];
        if (c == '[' && level == 1) in_index = true;
        if (c == ']' && level == 1) in_index = false;
        if (in_index) continue;
        if (c == '{') ++level;
        if (c == '}' && --level == 0) break;
      }
      if (at >= bytes.size()) value_error("expected '}' before end of string");
      field(text.slice(begin, at), out, depth);
      ++at;
    }
    return out;
  }

  void field(const Text& text, Text& out, int depth) {
    const std::string& bytes = text.bytes();
    size_t end = 0;
    bool in_index = false;
    for (; end < bytes.size(); ++end) {
      if (bytes[end] == '[') in_index = true;
      if (bytes[end] == ']') in_index = false;
      if (!in_index && (bytes[end] == '!' || bytes[end] == ':')) break;
    }
    Value value = lookup(bytes.substr(0, end));
    if (end < bytes.size() && bytes[end] == '!') {
      const char conversion = end + 1 < bytes.size() ? bytes[end + 1] : '\0';
      if (conversion == 's') {
        value = Value::string(str(value));
      } else if (conversion == 'r' || conversion == 'a') {
        value = Value::string(repr(value));
      } else {
        value_error("end of string while looking for conversion specifier");
      }
      end += 2;
      if (end < bytes.size() && bytes[end] != ':') value_error("expected ':' after conversion specifier");
    }
    const Text specification = end < bytes.size() ? expand(text.slice(end + 1, bytes.size()), depth - 1) : Text();
    out.append(format_value(value, specification));
  }

  Value lookup(const std::string& name) {
    size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string first = name.substr(0, end);
    Value value;
    if (first.empty() || std::all_of(first.begin(), first.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      size_t index;
      if (first.empty()) {
        if (manual_) value_error("cannot switch from manual field specification to automatic field numbering");
        index = automatic_++;
      } else {
        if (automatic_) value_error("cannot switch from manual field specification to automatic field numbering");
        manual_ = true;
        index = first.size() > 9 ? SIZE_MAX : static_cast<size_t>(std::stoul(first));
      }
      if (index >= arguments_.positional.size())
        fail("IndexError", concat("Replacement index ", index, " out of range for positional args tuple"));
      value = arguments_.positional[index];
    } else {
      const auto found = std::find_if(arguments_.named.begin(), arguments_.named.end(),
                                      [&](const auto& entry) { return entry.first == first; });
      if (found == arguments_.named.end()) fail("KeyError", quote(first));
      value = found->second;
    }
    while (end < name.size()) {
      charge(1);
      if (name[end] == '.') {
        const size_t begin = ++end;
        end = std::min(name.find_first_of(".[", begin), name.size());
        if (end == begin) value_error("Empty attribute in format string");
        value = get_attribute(value, name.substr(begin, end - begin));
      } else if (name[end] == '[') {
        const size_t begin = ++end;
        end = name.find(']', begin);
        if (end == std::string::npos) value_error("Missing ']' in format string");
        const std::string key = name.substr(begin, end - begin);
        if (key.empty()) value_error("Empty attribute in format string");
        const bool number =
            std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; }) && key.size() < 10;
        value = get_item(value, number ? Value(static_cast<int64_t>(std::stol(key))) : Value::string(key));
        ++end;
      } else {
        value_error("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  const Text& source_;
  Arguments& arguments_;
  size_t automatic_ = 0;
  bool manual_ = false;
};

Value join_method(const Value& self, Arguments& arguments) {
  const auto values = bind("join", arguments, {"iterable"});
  Text out;
  const auto items = iterate(*values[0]);
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string())
      type_error(concat("sequence item ", i, ": expected str instance, ", type_name(items[i]), " found"));
    if (i) out.append(self.text());
    out.append(items[i].text());
  }
  return text_value(self, std::move(out));
}

Value encode_method(const Value& self, Arguments& arguments) {
  const auto values = bind("encode", arguments, {"=encoding", "=errors"});
  std::string name = values[0] ? lower(need_text(*values[0])).bytes() : "utf-8";
  name.erase(std::remove_if(name.begin(), name.end(), [](char c) { return c == '-' || c == '_'; }), name.end());
  if (name != "utf8" && name != "ascii" && name != "latin1" && name != "iso88591")
    fail("LookupError", concat("unknown encoding: ", name));
  std::string out;
  for (size_t at = 0; at < self.bytes().size();) {
    const char32_t c = utf8::decode(self.bytes(), at);
    if (name == "utf8") {
      utf8::append(out, c);
    } else {
      if (c >= (name == "ascii" ? 0x80u : 0x100u))
        fail("UnicodeEncodeError", concat("'", name, "' codec can't encode a character"));
      out += static_cast<char>(c);
    }
  }
  auto object = std::make_shared<StringObject>();
  object->text = Text(std::move(out), true);
  return {Kind::bytes, std::move(object)};
}

Value decode_method(const Value& self, Arguments& arguments) {
  bind("decode", arguments, {"=encoding", "=errors"});
  for (size_t at = 0; at < self.bytes().size();) {
    const size_t begin = at;
    const char32_t c = utf8::decode(self.bytes(), at);
    if (c >= 0xD800 && c < 0xE000)
      fail("UnicodeDecodeError", concat("'utf-8' codec can't decode byte in position ", begin));
  }
  return Value::string(self.text());
}

Value expand_tabs(const Value& self, Arguments& arguments) {
  const auto values = bind("expandtabs", arguments, {"=tabsize"});
  const int64_t size = values[0] ? to_index(*values[0]) : 8;
  int64_t column = 0;
  Text out;
  for (size_t at = 0; at < self.bytes().size();) {
    const size_t begin = at;
    const char32_t c = utf8::decode(self.bytes(), at);
    if (c == '\t') {
      if (size > 0) {
        out.append(repeat(" ", size - column % size));
        column += size - column % size;
      }
    } else {
      out.append(self.text(), begin, at);
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
  }
  return text_value(self, std::move(out));
}

Value count_method(const Value& self, Arguments& arguments) {
  const auto values = bind("count", arguments, {"sub", "=start", "=end"});
  const std::string& needle = need_text(*values[0]).bytes();
  const auto range = byte_range(self.bytes(), values[1], values[2]);
  if (!range) return 0;
  const std::string_view body = std::string_view(self.bytes()).substr(range->first, range->second - range->first);
  if (needle.empty()) return utf8::count(body) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = body.find(needle, at)) != std::string_view::npos; at += needle.size()) ++count;
  return count;
}

Value remove_affix(const Value& self, Arguments& arguments, bool front) {
  const auto values = bind("removeprefix", arguments, {"prefix"});
  const std::string& part = need_text(*values[0]).bytes();
  const Text& text = self.text();
  if (front && text.bytes().starts_with(part)) return text_value(self, text.slice(part.size(), text.size()));
  if (!front && text.bytes().ends_with(part)) return text_value(self, text.slice(0, text.size() - part.size()));
  return self;
}

Value zero_fill(const Value& self, Arguments& arguments) {
  const auto values = bind("zfill", arguments, {"width"});
  const Text& text = self.text();
  const bool sign = !text.empty() && (text.bytes()[0] == '+' || text.bytes()[0] == '-');
  Format format;
  format.width = to_index(*values[0]);
  format.fill = "0";
  format.align = '=';
  return text_value(self, pad(text, format, '=', sign ? 1 : 0));
}

Value swap_case(const Value& self, Arguments& arguments) {
  bind("swapcase", arguments, {});
  return text_value(self, map_text(self.text(), [&](std::string& out, size_t begin, size_t end, char32_t c) {
                      if (utf8::is_upper(c)) {
                        append_lower(out, self.bytes(), begin, end, c);
                      } else if (utf8::is_lower(c)) {
                        append_upper(out, c);
                      } else {
                        utf8::append(out, c);
                      }
                    }));
}

Value case_fold(const Value& self, Arguments& arguments) {
  bind("casefold", arguments, {});
  return text_value(self, map_text(self.text(), [](std::string& out, size_t, size_t, char32_t c) {
                      utf8proc_int32_t buffer[8];
                      int last = 0;
                      const auto size = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer, 8,
                                                                UTF8PROC_CASEFOLD, &last);
                      for (utf8proc_ssize_t i = 0; i < size && i < 8; ++i)
                        utf8::append(out, static_cast<char32_t>(buffer[i]));
                    }));
}

struct NamedMethod {
  std::string_view name;
  Method method;
};

constexpr NamedMethod kTextMethods[] = {
    {"capitalize",
     [](const Value& s, Arguments& a) {
       bind("capitalize", a, {});
       return text_value(s, capitalize(s.text()));
     }},
    {"casefold", case_fold},
    {"center", [](const Value& s, Arguments& a) { return justify(s, a, '^'); }},
    {"count", count_method},
    {"encode", encode_method},
    {"endswith", [](const Value& s, Arguments& a) { return affix(s, a, false); }},
    {"expandtabs", expand_tabs},
    {"find", [](const Value& s, Arguments& a) { return find_in(s, a, false, false); }},
    {"format", [](const Value& s, Arguments& a) { return text_value(s, Formatter(s.text(), a).run()); }},
    {"format_map",
     [](const Value& s, Arguments& a) {
       const auto values = bind("format_map", a, {"mapping"});
       if (!values[0]->is(Kind::dict)) type_error("format_map() argument must be a mapping");
       Arguments mapped;
       for (const auto& [key, value] : values[0]->dict().entries) {
         if (key.is_string()) mapped.named.emplace_back(key.bytes(), value);
       }
       return text_value(s, Formatter(s.text(), mapped).run());
     }},
    {"index", [](const Value& s, Arguments& a) { return find_in(s, a, false, true); }},
    {"isalnum", [](const Value& s,
                   Arguments& a) { return all_of(s, a, [](char32_t c) { return c != '_' && utf8::is_word(c); }); }},
    {"isalpha", [](const Value& s, Arguments& a) { return all_of(s, a, utf8::is_alpha); }},
    {"isascii",
     [](const Value& s, Arguments& a) {
       return all_of(
           s, a, [](char32_t c) { return c < 0x80; }, true);
     }},
    {"isdecimal", [](const Value& s, Arguments& a) { return all_of(s, a, is_decimal); }},
    {"isdigit", [](const Value& s, Arguments& a) { return all_of(s, a, is_digit); }},
    {"isidentifier", is_identifier},
    {"islower", [](const Value& s, Arguments& a) { return cased(s, a, false); }},
    {"isnumeric",
     [](const Value& s, Arguments& a) {
       return all_of(s, a, [](char32_t c) { return utf8::is_word(c) && c != '_' && !utf8::is_alpha(c); });
     }},
    {"isprintable", [](const Value& s, Arguments& a) { return all_of(s, a, utf8::is_printable, true); }},
    {"isspace", [](const Value& s, Arguments& a) { return all_of(s, a, utf8::is_space); }},
    {"istitle", is_title},
    {"isupper", [](const Value& s, Arguments& a) { return cased(s, a, true); }},
    {"join", join_method},
    {"ljust", [](const Value& s, Arguments& a) { return justify(s, a, '<'); }},
    {"lower",
     [](const Value& s, Arguments& a) {
       bind("lower", a, {});
       return text_value(s, lower(s.text()));
     }},
    {"lstrip", [](const Value& s, Arguments& a) { return strip_method(s, a, true, false); }},
    {"partition", [](const Value& s, Arguments& a) { return partition_method(s, a, false); }},
    {"removeprefix", [](const Value& s, Arguments& a) { return remove_affix(s, a, true); }},
    {"removesuffix", [](const Value& s, Arguments& a) { return remove_affix(s, a, false); }},
    {"replace",
     [](const Value& s, Arguments& a) {
       const auto v = bind("replace", a, {"old", "new", "=count"});
       return text_value(s, replace(s.text(), need_text(*v[0]), need_text(*v[1]), v[2] ? to_index(*v[2]) : -1));
     }},
    {"rfind", [](const Value& s, Arguments& a) { return find_in(s, a, true, false); }},
    {"rindex", [](const Value& s, Arguments& a) { return find_in(s, a, true, true); }},
    {"rjust", [](const Value& s, Arguments& a) { return justify(s, a, '>'); }},
    {"rpartition", [](const Value& s, Arguments& a) { return partition_method(s, a, true); }},
    {"rsplit", [](const Value& s, Arguments& a) { return split_method(s, a, true); }},
    {"rstrip", [](const Value& s, Arguments& a) { return strip_method(s, a, false, true); }},
    {"split", [](const Value& s, Arguments& a) { return split_method(s, a, false); }},
    {"splitlines",
     [](const Value& s, Arguments& a) {
       const auto v = bind("splitlines", a, {"=keepends"});
       charge_bytes(s.bytes().size());
       return text_list(s, split_lines(s.text(), v[0] && truthy(*v[0])));
     }},
    {"startswith", [](const Value& s, Arguments& a) { return affix(s, a, true); }},
    {"strip", [](const Value& s, Arguments& a) { return strip_method(s, a, true, true); }},
    {"swapcase", swap_case},
    {"title", title_method},
    {"upper",
     [](const Value& s, Arguments& a) {
       bind("upper", a, {});
       return text_value(s, upper(s.text()));
     }},
    {"zfill", zero_fill},
};

Value count_items(const std::vector<Value>& items, Arguments& arguments) {
  const auto values = bind("count", arguments, {"value"});
  return static_cast<int64_t>(std::count_if(
      items.begin(), items.end(), [&](const Value& item) { return item.same(*values[0]) || equal(item, *values[0]); }));
}

Value index_of(const Value& self, Arguments& arguments) {
  const auto values = bind("index", arguments, {"value", "=start", "=stop"});
  const auto& items = self.items();
  const auto size = static_cast<int64_t>(items.size());
  const auto place = [&](const std::optional<Value>& value, int64_t fallback) {
    int64_t at = value ? to_index(*value) : fallback;
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  for (int64_t i = place(values[1], 0), end = place(values[2], size); i < end; ++i) {
    const Value& item = items[static_cast<size_t>(i)];
    if (item.same(*values[0]) || equal(item, *values[0])) return i;
  }
  value_error(self.is(Kind::tuple) ? "tuple.index(x): x not in tuple"
                                   : concat(repr(*values[0]).bytes(), " is not in list"));
}

constexpr NamedMethod kListMethods[] = {
    {"copy",
     [](const Value& s, Arguments& a) {
       bind("copy", a, {});
       return Value::list(s.items());
     }},
    {"count", [](const Value& s, Arguments& a) { return count_items(s.items(), a); }},
    {"index", index_of},
};
constexpr NamedMethod kTupleMethods[] = {
    {"count", [](const Value& s, Arguments& a) { return count_items(s.items(), a); }},
    {"index", index_of},
};
Value view_of(const Value& self, Arguments& arguments, ViewObject::Which which) {
  bind("items", arguments, {});
  auto view = std::make_shared<ViewObject>();
  view->which = which;
  view->dict = self;
  return {Kind::view, std::move(view)};
}
constexpr NamedMethod kDictMethods[] = {
    {"copy",
     [](const Value& s, Arguments& a) {
       bind("copy", a, {});
       charge(s.dict().entries.size() / 8);
       return make_dict(std::make_shared<DictObject>(s.dict()));
     }},
    {"get",
     [](const Value& s, Arguments& a) {
       const auto v = bind("get", a, {"key", "=default"});
       const Value* found = s.dict().find(*v[0]);
       return found ? *found : v[1].value_or(Value());
     }},
    {"items", [](const Value& s, Arguments& a) { return view_of(s, a, ViewObject::items); }},
    {"keys", [](const Value& s, Arguments& a) { return view_of(s, a, ViewObject::keys); }},
    {"values", [](const Value& s, Arguments& a) { return view_of(s, a, ViewObject::values); }},
};
constexpr NamedMethod kIntMethods[] = {
    {"bit_count",
     [](const Value& s, Arguments& a) {
       bind("bit_count", a, {});
       int64_t count = 0;
       for (BigInt rest = boost::multiprecision::abs(big(s)); rest != 0; rest >>= 1)
         count += static_cast<int64_t>(rest & 1);
       return Value(count);
     }},
    {"bit_length",
     [](const Value& s, Arguments& a) {
       bind("bit_length", a, {});
       const BigInt value = boost::multiprecision::abs(big(s));
       return value == 0 ? Value(0) : Value(static_cast<int64_t>(boost::multiprecision::msb(value)) + 1);
     }},
    {"conjugate",
     [](const Value& s, Arguments& a) {
       bind("conjugate", a, {});
       return Value::integer(big(s));
     }},
};
constexpr NamedMethod kRealMethods[] = {
    {"conjugate",
     [](const Value& s, Arguments& a) {
       bind("conjugate", a, {});
       return s;
     }},
    {"is_integer",
     [](const Value& s, Arguments& a) {
       bind("is_integer", a, {});
       return Value(std::isfinite(s.real()) && s.real() == std::floor(s.real()));
     }},
};
constexpr NamedMethod kBytesMethods[] = {
    {"decode", decode_method},
    {"hex",
     [](const Value& s, Arguments& a) {
       bind("hex", a, {});
       std::string out;
       for (const char c : s.bytes()) {
         static constexpr char kHex[] = "0123456789abcdef";
         out += kHex[static_cast<unsigned char>(c) >> 4];
         out += kHex[c & 15];
       }
       return Value::string(std::move(out));
     }},
};

// What would change a list or a dict, and is refused.
constexpr std::string_view kListChanges[] = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
constexpr std::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};

template <size_t N>
std::optional<Value> bound(const NamedMethod (&methods)[N], const Value& self, const std::string& name) {
  for (const NamedMethod& method : methods) {
    if (method.name != name) continue;
    return make_function(
        name, [self, call = method.method](Interpreter&, Arguments& arguments) { return call(self, arguments); });
  }
  return std::nullopt;
}

Value refuse(const Value& object, std::string_view name) {
  return make_undefined(
      concat("access to attribute ", quote(name), " of ", quote(type_name(object)), " object is unsafe."),
      "SecurityError");
}

}  // namespace

std::optional<Value> attribute(const Value& object, const std::string& name) {
  const auto refused = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  switch (object.kind()) {
    case Kind::string:
      return bound(kTextMethods, object, name);
    case Kind::bytes:
      return bound(kBytesMethods, object, name);
    case Kind::list:
      if (refused(kListChanges)) return refuse(object, name);
      return bound(kListMethods, object, name);
    case Kind::tuple:
      if (object.as<ListObject>().group && name == "grouper") return object.items()[0];
      if (object.as<ListObject>().group && name == "list") return object.items()[1];
      return bound(kTupleMethods, object, name);
    case Kind::dict:
      if (refused(kDictChanges)) return refuse(object, name);
      return bound(kDictMethods, object, name);
    case Kind::boolean:
    case Kind::integer:
    case Kind::big:
      if (name == "real" || name == "numerator") return Value::integer(big(object));
      if (name == "imag") return Value(0);
      if (name == "denominator") return Value(1);
      return bound(kIntMethods, object, name);
    case Kind::real:
      if (name == "real") return object;
      if (name == "imag") return Value(0.0);
      return bound(kRealMethods, object, name);
    case Kind::range: {
      const auto& range = object.as<RangeObject>();
      if (name == "start") return Value(range.start);
      if (name == "stop") return Value(range.stop);
      if (name == "step") return Value(range.step);
      return std::nullopt;
    }
    case Kind::names:
    case Kind::loop:
    case Kind::macro:
    case Kind::cycler:
    case Kind::type:
      return runtime_attribute(object, name);
    default:
      return std::nullopt;
  }
}

bool has_internal(const Value& object, std::string_view name) {
  static constexpr std::string_view kAll[] = {
      "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
      "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
      "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
      "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
      "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
  static constexpr std::string_view kContainer[] = {
      "__contains__", "__getitem__", "__iter__",       "__len__",      "__add__",          "__mul__",     "__rmul__",
      "__mod__",      "__rmod__",    "__getnewargs__", "__reversed__", "__delitem__",      "__setitem__", "__iadd__",
      "__imul__",     "__or__",      "__ior__",        "__ror__",      "__class_getitem__"};
  static constexpr std::string_view kNumber[] = {
      "__abs__",   "__add__",      "__and__",        "__bool__",    "__ceil__", "__divmod__",   "__float__",
      "__floor__", "__floordiv__", "__getnewargs__", "__index__",   "__int__",  "__invert__",   "__lshift__",
      "__mod__",   "__mul__",      "__neg__",        "__or__",      "__pos__",  "__pow__",      "__radd__",
      "__rand__",  "__rdivmod__",  "__rfloordiv__",  "__rlshift__", "__rmod__", "__rmul__",     "__ror__",
      "__round__", "__rpow__",     "__rrshift__",    "__rshift__",  "__rsub__", "__rtruediv__", "__rxor__",
      "__sub__",   "__truediv__",  "__trunc__",      "__xor__"};
  static constexpr std::string_view kObject[] = {"__dict__", "__module__", "__weakref__", "__call__", "__iter__"};
  static constexpr std::string_view kFunction[] = {"__call__",    "__module__",   "__name__",       "__qualname__",
                                                   "__self__",    "__dict__",     "__globals__",    "__code__",
                                                   "__closure__", "__defaults__", "__kwdefaults__", "__annotations__",
                                                   "__get__",     "__wrapped__",  "__builtins__"};
  static constexpr std::string_view kType[] = {"__mro__",      "__bases__",  "__base__", "__subclasses__", "__name__",
                                               "__qualname__", "__module__", "__dict__", "__call__"};
  static constexpr std::string_view kGenerator[] = {"__iter__", "__next__", "__name__", "__qualname__", "__del__"};
  static constexpr std::string_view kUndefined[] = {
      "__module__",   "__slots__",     "__call__",    "__iter__", "__len__",     "__bool__",
      "__getitem__",  "__getattr__",   "__add__",     "__radd__", "__sub__",     "__rsub__",
      "__mul__",      "__rmul__",      "__div__",     "__rdiv__", "__truediv__", "__rtruediv__",
      "__floordiv__", "__rfloordiv__", "__mod__",     "__rmod__", "__pos__",     "__neg__",
      "__int__",      "__float__",     "__complex__", "__pow__",  "__rpow__",    "__aiter__"};
  const auto in = [&](const auto& names) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
  };
  if (in(kAll)) return true;
  switch (object.kind()) {
    case Kind::string:
    case Kind::list:
    case Kind::tuple:
    case Kind::dict:
    case Kind::range:
    case Kind::bytes:
    case Kind::view:
      return in(kContainer);
    case Kind::boolean:
    case Kind::integer:
    case Kind::big:
    case Kind::real:
      return in(kNumber);
    case Kind::none:
      return name == "__bool__";
    case Kind::undefined:
      return in(kUndefined);
    case Kind::function:
      return in(kFunction);
    case Kind::type:
      return in(kType);
    case Kind::iterator:
      return in(kGenerator);
    default:
      return in(kObject);
  }
}

Value get_attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) {
    if (!name.starts_with("__") || !has_internal(object, name)) fail_undefined(object);
    return refuse(object, name);
  }
  if (auto value = attribute(object, name)) return *value;
  if (name.starts_with("__") && has_internal(object, name)) return refuse(object, name);
  if (object.is(Kind::dict)) {
    if (const Value* value = object.dict().find(std::string_view(name))) return *value;
  }
  return undefined_member(object, Value::string(name));
}

}  // namespace backplane::jinja
