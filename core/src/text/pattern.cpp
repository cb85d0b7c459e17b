#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstring>

#include "text/json_fields.h"

namespace backplane::text {
namespace {

// Escapes whose meaning in Oniguruma differs from PCRE2's, with Oniguruma's sets.
constexpr std::string_view kBlanks = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWords =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";

// Latin-1's superscripts and fractions: words outside of brackets only.
constexpr std::string_view kMoreWords = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

// An expression of Oniguruma (Ruby's syntax) as PCRE2 reads it.
std::string translate(const std::string& in) {
  std::string out;
  int depth = 0;  // of brackets
  for (size_t i = 0; i < in.size(); ++i) {
    const char c = in[i];
    if (c == '\\' && i + 1 < in.size()) {
      const char next = in[++i];
      const auto set = [&](std::string_view members, bool negated) {
        if (depth && negated) out += next == 'S' ? "\\S" : "\\W";
        else if (depth) out += members;
        else out += concat(negated ? "[^" : "[", members, next == 'w' || next == 'W' ? kMoreWords : "", "]");
      };
      switch (next) {
        case 's': set(kBlanks, false); break;
        case 'S': set(kBlanks, true); break;
        case 'w': set(kWords, false); break;
        case 'W': set(kWords, true); break;
        case 'd': out += "\\p{Nd}"; break;
        case 'D': out += "\\P{Nd}"; break;
        case 'h': out += depth ? "0-9a-fA-F" : "[0-9a-fA-F]"; break;
        case 'u':  // \uXXXX
          if (i + 4 < in.size()) {
            out += concat("\\x{", in.substr(i + 1, 4), "}");
            i += 4;
            break;
          }
          [[fallthrough]];
        default: out += {'\\', next};
      }
    } else if (c == '[' && depth == 0) {
      out += c;
      ++depth;
      if (i + 1 < in.size() && in[i + 1] == '^') out += in[++i];
      if (i + 1 < in.size() && in[i + 1] == ']') out += concat("\\", std::string(1, in[++i]));
    } else if (c == '[' && i + 1 < in.size() && in[i + 1] == ':') {
      const size_t end = in.find(":]", i);
      if (end == std::string::npos) {
        out += "\\[";
        continue;
      }
      out.append(in, i, end + 2 - i);
      i = end + 1;
    } else if (c == ']' && depth) {
      out += c;
      --depth;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

struct Pattern::Compiled {
  std::string expression;
  pcre2_code* code = nullptr;
  bool jit = false;
  ~Compiled() { pcre2_code_free(code); }
};

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  // Oniguruma finds the empty string at every position.
  if (text.empty()) return regex("(?:)", "");
  pattern.is_literal_ = true;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(const std::string& expression, const std::string& where) {
  Pattern pattern;
  if ((pattern.scanner_ = find_scanner(expression))) return pattern;
  auto compiled = std::make_shared<Compiled>();
  compiled->expression = expression;
  const std::string translated = translate(expression);
  int error = 0;
  PCRE2_SIZE at = 0;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(pcre2_compile_context_create(nullptr),
                                                                                      pcre2_compile_context_free);
  pcre2_set_parens_nest_limit(context.get(), 100);
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, context.get());
  if (!compiled->code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    bad(where, concat("the regular expression '", expression, "' does not compile: ", reinterpret_cast<const char*>(message)));
  }
  pattern.compiled_ = std::move(compiled);
  return pattern;
}

Pattern Pattern::from_json(const Json& config, const std::string& where) {
  const Fields f(config, where);
  if (f.has("String")) return literal(f.text("String"));
  if (f.has("Regex")) return regex(f.text("Regex"), f.path("Regex"));
  bad(where, "expected 'String' or 'Regex'");
}

void Pattern::find(std::string_view text, std::vector<Span>& matches) const {
  matches.clear();
  if (scanner_) return scanner_(text, 0, matches);
  if (is_literal_) {
    for (size_t at = 0; at + literal_.size() <= text.size();) {
      const void* found = memmem(text.data() + at, text.size() - at, literal_.data(), literal_.size());
      if (!found) break;
      const auto begin = static_cast<uint32_t>(static_cast<const char*>(found) - text.data());
      matches.push_back({begin, begin + static_cast<uint32_t>(literal_.size())});
      at = matches.back().end;
    }
    return;
  }
  if (text.empty()) return;

  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(compiled_->code, nullptr), pcre2_match_data_free);
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(pcre2_match_context_create(nullptr),
                                                                                  pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), 2'000'000);
  pcre2_set_depth_limit(context.get(), 200'000);
  pcre2_set_heap_limit(context.get(), 256 << 10);
  size_t from = 0;
  ptrdiff_t last_end = -1;
  while (from <= text.size()) {
    const int count = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                  PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0)
      throw Error(ErrorCode::limit_exceeded, concat("the regular expression '", compiled_->expression,
                                                    "' of the tokenizer needs too many steps on this text"));
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
    const size_t begin = offsets[0], end = offsets[1];
    // No empty match right after the last one.
    if (begin == end && last_end == static_cast<ptrdiff_t>(end)) {
      from += from < text.size() ? sequence_length(text[from]) : 1;
      continue;
    }
    if (begin > end) break;
    matches.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    from = end;
    last_end = static_cast<ptrdiff_t>(end);
  }
}

}  // namespace backplane::text
