#include <array>

#include "backplane/base/strings.h"
#include "text/jinja_syntax.h"

namespace backplane::jinja {
namespace {

constexpr std::pair<std::string_view, Token> kOperators[] = {
    {"//", Token::floordiv}, {"**", Token::pow},   {"==", Token::eq},      {"!=", Token::ne},      {">=", Token::ge},
    {"<=", Token::le},       {"+", Token::add},    {"-", Token::sub},      {"/", Token::div},      {"*", Token::mul},
    {"%", Token::mod},       {"~", Token::tilde},  {"[", Token::lbracket}, {"]", Token::rbracket}, {"(", Token::lparen},
    {")", Token::rparen},    {"{", Token::lbrace}, {"}", Token::rbrace},   {">", Token::gt},       {"<", Token::lt},
    {"=", Token::assign},    {".", Token::dot},    {":", Token::colon},    {"|", Token::pipe},     {",", Token::comma},
    {";", Token::semicolon}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string normalize_newlines(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      text += '\n';
    } else {
      text += source[i];
    }
  }
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : name_(name), text_(normalize_newlines(source)) {
    if (text_.ends_with('\n')) text_.pop_back();
  }

  std::vector<Lexeme> run() {
    while (at_ < text_.size()) root();
    push(Token::end, {}, text_.size());
    return std::move(lexemes_);
  }

 private:
  Place place(size_t byte) {
    if (byte < counted_) {
      counted_ = 0;
      place_ = {};
    }
    for (; counted_ < byte; ++counted_) {
      if (text_[counted_] == '\n') {
        ++place_.line;
        place_.column = 1;
      } else if ((text_[counted_] & 0xC0) != 0x80) {
        ++place_.column;
      }
    }
    return place_;
  }

  [[noreturn]] void error(std::string message, size_t byte) {
    fail_at({"TemplateSyntaxError", std::move(message)}, name_, place(byte));
  }

  void push(Token token, std::string text, size_t byte) { lexemes_.push_back({token, std::move(text), place(byte)}); }

  size_t skip_spaces(size_t at) const {
    while (at < text_.size()) {
      size_t next = at;
      if (!utf8::is_space(utf8::decode(text_, next))) break;
      at = next;
    }
    return at;
  }
  bool starts(size_t at, std::string_view what) const { return std::string_view(text_).substr(at).starts_with(what); }

  // The end of "raw %}" after "{%" and its sign, or npos.
  size_t match_raw(size_t at) const {
    at = skip_spaces(at);
    if (!starts(at, "raw")) return std::string::npos;
    at = skip_spaces(at + 3);
    if (starts(at, "-%}")) return skip_spaces(at + 3);
    return starts(at, "%}") ? at + 2 : std::string::npos;
  }

  // The end of a closing "%}" or "#}" at `at` with the white space it takes along, or npos.
  size_t match_close(size_t at, std::string_view close) const {
    if (starts(at, "+") && starts(at + 1, close)) return at + 3;
    if (starts(at, "-") && starts(at + 1, close)) return skip_spaces(at + 3);
    if (!starts(at, close)) return std::string::npos;
    at += 2;
    return at < text_.size() && text_[at] == '\n' ? at + 1 : at;
  }

  void push_data(size_t begin, size_t end, char sign, bool may_strip) {
    if (sign == '-') {
      while (end > begin) {
        size_t last = utf8::previous(text_, end);
        const size_t start = last;
        if (last < begin || !utf8::is_space(utf8::decode(text_, last))) break;
        end = start;
      }
    } else if (sign != '+' && may_strip) {
      const size_t newline = std::string_view(text_).substr(begin, end - begin).rfind('\n');
      const size_t line = newline == std::string_view::npos ? begin : begin + newline + 1;
      if ((line > begin || line_starting_) && line < end && skip_spaces(line) >= end) end = line;
    }
    if (end > begin) push(Token::data, text_.substr(begin, end - begin), begin);
  }

  void root() {
    const size_t begin = at_;
    size_t open = begin;
    for (;; ++open) {
      open = text_.find('{', open);
      if (open == std::string::npos || open + 1 >= text_.size()) {
        push(Token::data, text_.substr(begin), begin);
        at_ = text_.size();
        return;
      }
      if (text_[open + 1] == '%' || text_[open + 1] == '{' || text_[open + 1] == '#') break;
    }
    const char kind = text_[open + 1];
    at_ = open + 2;
    char sign = 0;
    if (at_ < text_.size() && (text_[at_] == '-' || text_[at_] == '+')) sign = text_[at_++];
    push_data(begin, open, sign, kind != '{');
    if (kind == '#') return comment(open);
    if (kind == '%') {
      if (const size_t end = match_raw(at_); end != std::string::npos) {
        at_ = end;
        line_starting_ = text_[at_ - 1] == '\n';
        return raw(open);
      }
    }
    push(kind == '%' ? Token::block_begin : Token::variable_begin, {}, open);
    code(kind == '%' ? "%}" : "}}");
  }

  void comment(size_t open) {
    for (size_t i = at_; i < text_.size(); ++i) {
      if (const size_t end = match_close(i, "#}"); end != std::string::npos) {
        at_ = end;
        line_starting_ = text_[at_ - 1] == '\n';
        return;
      }
    }
    // At the very end of the source there is nothing left that could be called unclosed.
    if (at_ < text_.size()) error("Missing end of comment tag", open);
  }

  void raw(size_t open) {
    for (size_t i = at_; (i = text_.find("{%", i)) != std::string::npos; ++i) {
      size_t at = i + 2;
      char sign = 0;
      if (at < text_.size() && (text_[at] == '-' || text_[at] == '+')) sign = text_[at++];
      at = skip_spaces(at);
      if (!starts(at, "endraw")) continue;
      const size_t end = match_close(skip_spaces(at + 6), "%}");
      if (end == std::string::npos) continue;
      push_data(at_, i, sign, true);
      at_ = end;
      line_starting_ = text_[at_ - 1] == '\n';
      return;
    }
    if (at_ < text_.size()) error("Missing end of raw directive", open);
  }

  void code(std::string_view close) {
    std::string brackets;
    while (true) {
      if (brackets.empty()) {
        size_t end = std::string::npos;
        if (close == "%}") {
          end = match_close(at_, close);
        } else if (starts(at_, "-}}")) {
          end = skip_spaces(at_ + 3);
        } else if (starts(at_, "}}")) {
          end = at_ + 2;
        }
        if (end != std::string::npos) {
          push(close == "%}" ? Token::block_end : Token::variable_end, {}, at_);
          at_ = end;
          line_starting_ = text_[at_ - 1] == '\n';
          return;
        }
      }
      if (at_ >= text_.size()) return;
      const size_t start = at_;
      at_ = skip_spaces(at_);
      if (at_ > start) continue;
      const char c = text_[at_];
      if (is_digit(c)) {
        number();
      } else if (c == '\'' || c == '"') {
        quoted_text();
      } else if (identifier()) {
        push(Token::name, text_.substr(start, at_ - start), start);
      } else {
        operation(brackets);
      }
    }
  }

  // digits with single underscores between them
  size_t digits(size_t at) const {
    while (at < text_.size() &&
           (is_digit(text_[at]) || (text_[at] == '_' && at + 1 < text_.size() && is_digit(text_[at + 1]))))
      ++at;
    return at;
  }

  void number() {
    const size_t start = at_;
    const auto without_underscores = [&](size_t end) {
      std::string text;
      for (size_t i = start; i < end; ++i) {
        if (text_[i] != '_') text += text_[i];
      }
      return text;
    };
    const auto exponent = [&](size_t at) {
      if (at >= text_.size() || (text_[at] | 32) != 'e') return at;
      size_t end = at + 1;
      if (end < text_.size() && (text_[end] == '+' || text_[end] == '-')) ++end;
      return end < text_.size() && is_digit(text_[end]) ? digits(end) : at;
    };
    if (start == 0 || text_[start - 1] != '.') {
      const size_t whole = digits(start);
      size_t end = whole;
      if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) end = digits(end + 1);
      end = exponent(end);
      if (end > whole) {
        at_ = end;
        return push(Token::real, without_underscores(end), start);
      }
    }
    size_t end = start + 1;
    if (text_[start] != '0') {
      end = digits(start);
    } else {
      const char base = end < text_.size() ? static_cast<char>(text_[end] | 32) : '\0';
      const auto valid = [&](char c) {
        c = static_cast<char>(c | 32);
        if (base == 'b') return c == '0' || c == '1';
        if (base == 'o') return c >= '0' && c <= '7';
        return is_digit(c) || (c >= 'a' && c <= 'f');
      };
      if (base == 'b' || base == 'o' || base == 'x') {
        size_t at = end + 1;
        while (at < text_.size() &&
               (valid(text_[at]) || (text_[at] == '_' && at + 1 < text_.size() && valid(text_[at + 1]))))
          ++at;
        if (at > end + 1) end = at;
      }
      if (end == start + 1) {
        while (end < text_.size() &&
               (text_[end] == '0' || (text_[end] == '_' && end + 1 < text_.size() && text_[end + 1] == '0')))
          ++end;
      }
    }
    at_ = end;
    push(Token::integer, without_underscores(end), start);
  }

  bool identifier() {
    const size_t start = at_;
    while (at_ < text_.size()) {
      size_t next = at_;
      if (!utf8::is_word(utf8::decode(text_, next))) break;
      at_ = next;
    }
    return at_ > start;
  }

  void quoted_text() {
    const size_t start = at_;
    const char mark = text_[start];
    size_t end = start + 1;
    while (end < text_.size() && text_[end] != mark) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) {
      error(concat("unexpected char ", quote(std::string(1, mark)), " at ",
                   utf8::count(std::string_view(text_).substr(0, start))),
            start);
    }
    at_ = end + 1;
    push(Token::string, unescape(start + 1, end), start);
  }

  std::string unescape(size_t at, size_t end) {
    std::string out;
    while (at < end) {
      const char c = text_[at++];
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = text_[at];
      const auto hex = [&](size_t count, const char* shape) {
        char32_t value = 0;
        for (size_t i = 1; i <= count; ++i) {
          const char digit = at + i < end ? static_cast<char>(text_[at + i] | 32) : '\0';
          const bool letter = digit >= 'a' && digit <= 'f';
          if (!letter && !(at + i < end && is_digit(text_[at + i])))
            error(concat("truncated ", shape, " escape"), at - 1);
          value = value * 16 + static_cast<char32_t>(letter ? digit - 'a' + 10 : text_[at + i] - '0');
        }
        if (value > 0x10FFFF) error("illegal Unicode character", at - 1);
        at += count + 1;
        utf8::append(out, value);
      };
      switch (escape) {
        case '\n':
          ++at;
          break;
        case '\\':
        case '\'':
        case '"':
          out += escape;
          ++at;
          break;
        case 'a':
          out += '\a';
          ++at;
          break;
        case 'b':
          out += '\b';
          ++at;
          break;
        case 'f':
          out += '\f';
          ++at;
          break;
        case 'n':
          out += '\n';
          ++at;
          break;
        case 'r':
          out += '\r';
          ++at;
          break;
        case 't':
          out += '\t';
          ++at;
          break;
        case 'v':
          out += '\v';
          ++at;
          break;
        case 'x':
          hex(2, "\\xXX");
          break;
        case 'u':
          hex(4, "\\uXXXX");
          break;
        case 'U':
          hex(8, "\\UXXXXXXXX");
          break;
        case 'N':
          error("malformed \\N character escape", at - 1);
        default:
          if (escape >= '0' && escape <= '7') {
            char32_t value = 0;
            for (int i = 0; i < 3 && at < end && text_[at] >= '0' && text_[at] <= '7'; ++i)
              value = value * 8 + static_cast<char32_t>(text_[at++] - '0');
            utf8::append(out, value);
          } else if (static_cast<unsigned char>(escape) < 0x80) {
            out += '\\';
            out += escape;
            ++at;
          } else {
            // The reference escapes what is not ASCII first, and so reads backslash + é as backslash, backslash, xe9.
            const char32_t code = utf8::decode(text_, at);
            char buffer[16];
            std::snprintf(buffer, sizeof buffer,
                          code < 0x100     ? "\\x%02x"
                          : code < 0x10000 ? "\\u%04x"
                                           : "\\U%08x",
                          static_cast<unsigned>(code));
            out += buffer;
          }
      }
    }
    return out;
  }

  void operation(std::string& brackets) {
    for (const auto& [symbol, token] : kOperators) {
      if (!starts(at_, symbol)) continue;
      const size_t start = at_;
      const char c = symbol[0];
      if (c == '{' || c == '(' || c == '[') {
        brackets += c == '{' ? '}' : c == '(' ? ')' : ']';
      } else if (c == '}' || c == ')' || c == ']') {
        if (brackets.empty()) error(concat("unexpected '", symbol, "'"), start);
        if (brackets.back() != c)
          error(concat("unexpected '", symbol, "', expected '", std::string(1, brackets.back()), "'"), start);
        brackets.pop_back();
      }
      at_ += symbol.size();
      return push(token, std::string(symbol), start);
    }
    size_t end = at_;
    utf8::decode(text_, end);
    error(concat("unexpected char ", quote(std::string_view(text_).substr(at_, end - at_)), " at ",
                 utf8::count(std::string_view(text_).substr(0, at_))),
          at_);
  }

  const std::string& name_;
  std::string text_;
  size_t at_ = 0;
  bool line_starting_ = true;
  size_t counted_ = 0;  // bytes before place_
  Place place_;
  std::vector<Lexeme> lexemes_;
};

}  // namespace

std::vector<Lexeme> tokenize(std::string_view source, const std::string& name) { return Lexer(source, name).run(); }

void fail_at(const Failure& failure, const std::string& name, Place place) {
  throw JinjaError(failure.code, failure.type, failure.message,
                   concat(" (", name, ", line ", place.line, ", column ", place.column, ")"));
}

}  // namespace backplane::jinja
