#include "backplane/base/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "backplane/base/files.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

// Python's json reads and writes these three words, which JSON does not have. They travel through the parser as strings
// with a first character that no other string of a configuration has.
constexpr std::string_view kWords[] = {"NaN", "Infinity", "-Infinity"};
constexpr std::string_view kMarker = "\x01number:";

double word_value(std::string_view word) {
  if (word == kWords[0]) return std::numeric_limits<double>::quiet_NaN();
  return word == kWords[1] ? HUGE_VAL : -HUGE_VAL;
}

// Text with each bare NaN, Infinity and -Infinity outside of strings turned into a marked string.
std::string mark_words(std::string_view text) {
  std::string marked;
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string && c == '\\' && i + 1 < text.size()) {
      marked.append(text.substr(i, 2));
      i += 2;
      continue;
    }
    if (c == '"') in_string = !in_string;
    if (!in_string) {
      bool found = false;
      for (auto word : kWords) {
        if (text.substr(i, word.size()) == word) {
          marked.append("\"\\u0001number:").append(word).append("\"");
          i += word.size();
          found = true;
          break;
        }
      }
      if (found) continue;
    }
    marked.push_back(c);
    ++i;
  }
  return marked;
}

// Builds the document without the linear search for doubled keys that ordered_json does at every insertion.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder(const std::string& name, ErrorCode code, JsonLimits limits) : name_(name), code_(code), limits_(limits) {}

  Json take() { return std::move(root_); }

  bool null() override { return put(Json(nullptr)); }
  bool boolean(bool value) override { return put(Json(value)); }
  bool number_integer(number_integer_t value) override { return put(Json(value)); }
  bool number_unsigned(number_unsigned_t value) override { return put(Json(value)); }
  bool number_float(number_float_t value, const string_t&) override { return put(Json(value)); }
  bool string(string_t& value) override {
    if (value.starts_with(kMarker)) return put(Json(word_value(std::string_view(value).substr(kMarker.size()))));
    return put(Json(std::move(value)));
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool end_object() override {
    drop_doubled_keys(stack_.back().first.get_ref<Json::object_t&>());
    return close();
  }
  bool key(string_t& value) override {
    stack_.back().second = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string reason = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 2: …"
    if (const auto bracket = reason.find("] "); bracket != std::string::npos) reason = reason.substr(bracket + 2);
    throw Error(code_, concat(name_, " is not valid JSON: ", reason, " (byte ", position, ")"));
  }

 private:
  bool put(Json&& value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (auto& [parent, key] = stack_.back(); parent.is_array()) {
      parent.get_ref<Json::array_t&>().push_back(std::move(value));
    } else {
      static_cast<std::vector<std::pair<const std::string, Json>>&>(parent.get_ref<Json::object_t&>())
          .emplace_back(std::move(key), std::move(value));
    }
    return true;
  }
  bool open(Json&& value) {
    if (static_cast<int>(stack_.size()) >= limits_.depth) {
      throw Error(ErrorCode::limit_exceeded, concat(name_, " is nested deeper than ", limits_.depth, " levels"));
    }
    stack_.emplace_back(std::move(value), std::string());
    return true;
  }
  bool close() {
    Json value = std::move(stack_.back().first);
    stack_.pop_back();
    return put(std::move(value));
  }
  // The last of equal keys gives the value, the first the place.
  static void drop_doubled_keys(Json::object_t& object) {
    std::unordered_map<std::string_view, size_t> first;
    first.reserve(object.size());
    bool doubled = false;
    for (size_t i = 0; i < object.size(); ++i) {
      const auto [entry, inserted] = first.try_emplace(object.begin()[static_cast<std::ptrdiff_t>(i)].first, i);
      if (inserted) continue;
      object.begin()[static_cast<std::ptrdiff_t>(entry->second)].second =
          object.begin()[static_cast<std::ptrdiff_t>(i)].second;
      doubled = true;
    }
    if (!doubled) return;
    Json::object_t kept;
    for (size_t i = 0; i < object.size(); ++i) {
      auto& [key, value] = object.begin()[static_cast<std::ptrdiff_t>(i)];
      if (first.at(key) == i)
        static_cast<std::vector<std::pair<const std::string, Json>>&>(kept).emplace_back(key, value);
    }
    object = std::move(kept);
  }

  const std::string& name_;
  ErrorCode code_;
  JsonLimits limits_;
  Json root_;
  std::vector<std::pair<Json, std::string>> stack_;  // open containers, each with the key that is being read
};

void append_escaped(std::string& out, std::string_view text, bool ensure_ascii) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto unicode = [&](unsigned unit) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += kHex[(unit >> shift) & 15u];
  };
  out += '"';
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (c < 0x20) {
          unicode(c);
        } else if (c < 0x80 || !ensure_ascii) {
          out += static_cast<char>(c);
        } else {
          const int extra = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
          uint32_t point = c & (0x3fu >> extra);
          for (int k = 0; k < extra && i + 1 < text.size(); ++k)
            point = (point << 6) | (static_cast<unsigned char>(text[++i]) & 0x3fu);
          if (point >= 0x10000) {
            point -= 0x10000;
            unicode(0xd800 + (point >> 10));
            unicode(0xdc00 + (point & 0x3ff));
          } else {
            unicode(point);
          }
        }
    }
  }
  out += '"';
}

struct DumpStyle {
  int indent;
  bool ensure_ascii;
  bool sort_keys;
};

void dump(std::string& out, const Json& value, const DumpStyle& style, int level) {
  const auto new_line = [&](int depth) {
    if (style.indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(depth) * static_cast<size_t>(style.indent), ' ');
  };
  const std::string_view comma = style.indent < 0 ? ", " : ",";
  switch (value.type()) {
    case Json::value_t::object: {
      if (value.empty()) {
        out += "{}";
        return;
      }
      std::vector<std::pair<std::string_view, const Json*>> items;
      for (auto it = value.begin(); it != value.end(); ++it) items.emplace_back(it.key(), &it.value());
      if (style.sort_keys) {
        std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
      }
      out += '{';
      bool first = true;
      for (const auto& [key, item] : items) {
        if (!first) out += comma;
        first = false;
        new_line(level + 1);
        append_escaped(out, key, style.ensure_ascii);
        out += ": ";
        dump(out, *item, style, level + 1);
      }
      new_line(level);
      out += '}';
      return;
    }
    case Json::value_t::array: {
      if (value.empty()) {
        out += "[]";
        return;
      }
      out += '[';
      bool first = true;
      for (const auto& item : value) {
        if (!first) out += comma;
        first = false;
        new_line(level + 1);
        dump(out, item, style, level + 1);
      }
      new_line(level);
      out += ']';
      return;
    }
    case Json::value_t::string:
      append_escaped(out, value.get_ref<const std::string&>(), style.ensure_ascii);
      return;
    case Json::value_t::number_float: {
      const double number = value.get<double>();
      out += std::isnan(number)   ? "NaN"
             : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity")
                                  : python_float(number);
      return;
    }
    default:
      out += value.dump();
      return;
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& name, ErrorCode error_code, JsonLimits limits) {
  if (text.size() > limits.bytes) {
    throw Error(ErrorCode::limit_exceeded,
                concat(name, " has ", text.size(), " bytes; at most ", limits.bytes, " are read"));
  }
  if (text.starts_with("\xef\xbb\xbf"))
    throw Error(error_code, concat(name, " begins with a byte-order mark; save it as UTF-8 without one"));
  std::string marked;
  if (text.find("NaN") != std::string_view::npos || text.find("Infinity") != std::string_view::npos) {
    marked = mark_words(text);
    text = marked;
  }
  Builder builder(name, error_code, limits);
  Json::sax_parse(text, &builder);
  return builder.take();
}

Json read_json_file(const std::string& path, ErrorCode error_code, JsonLimits limits) {
  return parse_json(read_file(path, limits.bytes), concat("'", path, "'"), error_code, limits);
}

std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char digits[64];
  char* const end = std::to_chars(digits, digits + sizeof digits - 1, value, std::chars_format::scientific).ptr;
  *end = '\0';
  const std::string_view text(digits, static_cast<size_t>(end - digits));
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.data() + e + 1);
  if (exponent < -4 || exponent >= 16) {
    return std::string(text);  // to_chars writes "1e-05" as repr does: no dot needed, two digits of exponent at least
  }
  const auto fixed_end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed).ptr;
  std::string fixed(digits, fixed_end);
  if (fixed.find('.') == std::string::npos) fixed += ".0";
  return fixed;
}

std::string python_dumps(const Json& value, int indent, bool ensure_ascii, bool sort_keys) {
  std::string out;
  dump(out, value, {indent, ensure_ascii, sort_keys}, 0);
  return out;
}

}  // namespace backplane
