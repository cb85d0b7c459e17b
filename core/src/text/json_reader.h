#pragma once

#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "text/json_fields.h"
#include "text/unicode.h"

namespace backplane::text {

// Reads JSON in one pass, without a tree: for vocabularies of hundreds of thousands of entries.
// Every member throws `bad_tokenizer` with file and byte for malformed text.
class JsonReader {
 public:
  JsonReader(std::string_view text, std::string name) : p_(text.data()), begin_(p_), end_(p_ + text.size()), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  // While it lives, messages name this file and key.
  class Within {
   public:
    Within(JsonReader& reader, std::string name) : reader_(reader), outer_(std::exchange(reader.name_, std::move(name))) {}
    ~Within() { reader_.name_ = outer_; }

   private:
    JsonReader& reader_;
    std::string outer_;
  };

  // The next character that is not blank, not taken.
  char peek() {
    while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
    if (p_ == end_) fail("the text ends too early");
    return *p_;
  }
  void expect(char c) {
    if (peek() != c) fail(concat("expected '", std::string(1, c), "', found '", std::string(1, *p_), "'"));
    ++p_;
  }
  // After an opening bracket or a value: true if another value follows, false after taking `close`.
  bool more(char close, bool first) {
    if (peek() == close) return ++p_, false;
    if (!first) {
      expect(',');
      if (peek() == close) fail("a comma is followed by no value");
    }
    return true;
  }
  // A string, quotes taken; the view lasts until the next string is read.
  std::string_view string() {
    expect('"');
    const char* start = p_;
    uint8_t high = 0;
    while (p_ < end_ && *p_ != '"' && *p_ != '\\') {
      high |= static_cast<uint8_t>(*p_);
      if (static_cast<uint8_t>(*p_) < 0x20) fail("a control character in a string");
      ++p_;
    }
    if (p_ == end_) fail("a string does not end");
    std::string_view out(start, static_cast<size_t>(p_ - start));
    if (*p_ == '\\') {
      scratch_ = out;
      unescape();
      out = scratch_;
      high = 0x80;
    }
    ++p_;
    if (high & 0x80 && valid_prefix(out) != out.size()) fail("a string is not UTF-8");
    return out;
  }
  uint64_t unsigned_integer() {
    peek();
    uint64_t value = 0;
    const auto [after, error] = std::from_chars(p_, end_, value);
    if (error != std::errc() || (after < end_ && (*after == '.' || *after == 'e' || *after == 'E')))
      fail("expected an integer that is not negative");
    p_ = after;
    return value;
  }
  double number() {
    peek();
    double value = 0;
    const auto [after, error] = std::from_chars(p_, end_, value);
    if (error != std::errc() || !(value - value == 0)) fail("expected a number");
    p_ = after;
    return value;
  }
  // The text of the next value, which is passed over.
  std::string_view skip() {
    const char first = peek();
    const char* start = p_;
    int depth = 0;
    do {
      if (p_ == end_) fail("the text ends too early");
      const char c = *p_;
      if (c == '"') {
        for (++p_; p_ < end_ && *p_ != '"'; ++p_) p_ += *p_ == '\\';
        if (p_ >= end_) fail("a string does not end");
      } else if (c == '{' || c == '[') {
        if (++depth > limits::kJsonDepth) fail("the text is nested too deeply");
      } else if (c == '}' || c == ']') {
        if (--depth < 0) fail("a value is missing");
      }
      ++p_;
    } while (depth > 0);
    // A number or a word goes on to the next separator.
    if (first != '"' && first != '{' && first != '[')
      while (p_ < end_ && *p_ != ',' && *p_ != '}' && *p_ != ']' && *p_ != ' ' && *p_ != '\n' && *p_ != '\r' && *p_ != '\t') ++p_;
    return {start, static_cast<size_t>(p_ - start)};
  }
  void expect_end() {
    while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) ++p_;
    if (p_ != end_) fail("text follows the value");
  }
  [[noreturn]] void fail(const std::string& what) const { bad(name_, concat(what, " (byte ", p_ - begin_, ")")); }

 private:
  uint32_t hex4() {
    uint32_t value = 0;
    if (end_ - p_ < 4) fail("a string does not end");
    const auto [after, error] = std::from_chars(p_, p_ + 4, value, 16);
    if (error != std::errc() || after != p_ + 4) fail("expected four hexadecimal digits");
    p_ += 4;
    return value;
  }
  void unescape() {
    while (p_ < end_ && *p_ != '"') {
      if (*p_ != '\\') {
        if (static_cast<uint8_t>(*p_) < 0x20) fail("a control character in a string");
        scratch_ += *p_++;
        continue;
      }
      if (++p_ == end_) break;
      const char c = *p_++;
      switch (c) {
        case '"': case '\\': case '/': scratch_ += c; break;
        case 'b': scratch_ += '\b'; break;
        case 'f': scratch_ += '\f'; break;
        case 'n': scratch_ += '\n'; break;
        case 'r': scratch_ += '\r'; break;
        case 't': scratch_ += '\t'; break;
        case 'u': {
          uint32_t code = hex4();
          if (code >= 0xD800 && code < 0xDC00) {
            if (end_ - p_ < 2 || p_[0] != '\\' || p_[1] != 'u') fail("half of a surrogate pair");
            p_ += 2;
            const uint32_t low = hex4();
            if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
            code = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00;
          } else if (code >= 0xDC00 && code < 0xE000) {
            fail("half of a surrogate pair");
          }
          append(scratch_, code);
          break;
        }
        default: fail("an unknown escape in a string");
      }
    }
    if (p_ >= end_) fail("a string does not end");
  }

  const char* p_;
  const char* begin_;
  const char* end_;
  std::string name_, scratch_;
};

}  // namespace backplane::text
