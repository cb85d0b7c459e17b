#include "text/decoders.h"

#include "text/byte_level.h"
#include "text/json_fields.h"
#include "text/pattern.h"

namespace backplane::text {
namespace {

using Tokens = std::vector<std::string>;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = from.empty() ? std::string::npos : text.find(from);
  if (at == std::string::npos) return;
  std::string out;
  size_t done = 0;
  for (; at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  text = out.append(text, done);
}

// The clean-up of the Rust library's WordPiece and CTC decoders.
void clean_up(std::string& text) {
  static constexpr std::pair<const char*, const char*> kReplacements[] = {
      {" .", "."},     {" ?", "?"},     {" !", "!"},     {" ,", ","},     {" ' ", "'"},   {" n't", "n't"}, {" 'm", "'m"},
      {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) replace_all(text, from, to);
}

class ByteLevelDecoder final : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens)
      if (!append_bytes_of(token, bytes)) bytes += token;
    tokens.assign(1, replace_invalid(bytes));
  }
};

class ReplaceDecoder final : public Decoder {
 public:
  ReplaceDecoder(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(Tokens& tokens) const override {
    std::vector<Span> matches;
    for (std::string& token : tokens) {
      pattern_.find(token, matches);
      if (matches.empty()) continue;
      std::string out;
      size_t at = 0;
      for (const Span& match : matches) {
        out.append(token, at, match.begin - at).append(content_);
        at = match.end;
      }
      token = out.append(token, at);
    }
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class WordPieceDecoder final : public Decoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void apply(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i) {
        if (token.starts_with(prefix_)) token.erase(0, prefix_.size());
        else token.insert(0, " ");
      }
      if (cleanup_) clean_up(token);
    }
  }

 private:
  std::string prefix_;
  bool cleanup_;
};

// Runs of <0xNN> become the text of their bytes, or a U+FFFD a byte where they are no UTF-8.
class ByteFallbackDecoder final : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (valid_prefix(bytes) == bytes.size()) out.push_back(bytes);
      else out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      bytes.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_of(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int byte_of(const std::string& token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
    int value = 0;
    for (const char c : {token[3], token[4]}) {
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      // Rust's from_str_radix takes a sign before the digit.
      if (digit < 0) return c == '+' && value == 0 && token[3] == '+' ? byte_after_sign(token[4]) : -1;
      value = value * 16 + digit;
    }
    return value;
  }
  static int byte_after_sign(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  }
};

class FuseDecoder final : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    std::string text;
    for (const std::string& token : tokens) text += token;
    tokens.assign(1, std::move(text));
  }
};

class StripDecoder final : public Decoder {
 public:
  StripDecoder(std::string content, uint64_t start, uint64_t stop) : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(Tokens& tokens) const override {
    for (std::string& token : tokens) {
      const std::string_view text = token;
      size_t end = text.size(), begin = 0;
      for (uint64_t i = 0; i < start_ && text.substr(begin).starts_with(content_); ++i) begin += content_.size();
      for (uint64_t i = 0; i < stop_; ++i) {
        if (end == 0) too_short(token);
        if (!text.substr(0, end).ends_with(content_)) break;
        end -= content_.size();
      }
      if (begin > end) too_short(token);
      token = token.substr(begin, end - begin);
    }
  }

 private:
  // The reference stops here, too.
  [[noreturn]] static void too_short(const std::string& token) {
    throw Error(ErrorCode::invalid_value, concat("the decoder 'Strip' takes away more than the token '", token, "' has"));
  }

  std::string content_;
  uint64_t start_, stop_;
};

class MetaspaceDecoder final : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool drops_first) : replacement_(std::move(replacement)), drops_first_(drops_first) {}
  void apply(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], replacement_, i == 0 && drops_first_ ? "" : " ");
  }

 private:
  std::string replacement_;
  bool drops_first_;
};

class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

class CtcDecoder final : public Decoder {
 public:
  CtcDecoder(std::string pad, std::string delimiter, bool cleanup) : pad_(std::move(pad)), delimiter_(std::move(delimiter)), cleanup_(cleanup) {}
  void apply(Tokens& tokens) const override {
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    for (std::string& token : tokens) {
      replace_all(token, pad_, "");
      if (!cleanup_) continue;
      clean_up(token);
      replace_all(token, delimiter_, " ");
    }
    tokens.erase(std::remove(tokens.begin(), tokens.end(), ""), tokens.end());
  }

 private:
  std::string pad_, delimiter_;
  bool cleanup_;
};

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> parts) : parts_(std::move(parts)) {}
  void apply(Tokens& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

}  // namespace

std::unique_ptr<Decoder> make_decoder(const Json& config, const std::string& where) {
  if (config.is_null()) return nullptr;
  const Fields f(config, where);
  const std::string type = f.text("type");
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "Replace") return std::make_unique<ReplaceDecoder>(Pattern::from_json(f.at("pattern"), f.path("pattern")), f.text("content"));
  if (type == "WordPiece") return std::make_unique<WordPieceDecoder>(f.text("prefix"), f.flag("cleanup"));
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "Strip") {
    if (count_code_points(f.text("content")) != 1) bad(f.path("content"), "expected one character");
    return std::make_unique<StripDecoder>(f.text("content"), static_cast<uint64_t>(f.number("start", 0, INT64_MAX)),
                                          static_cast<uint64_t>(f.number("stop", 0, INT64_MAX)));
  }
  if (type == "Metaspace") {
    const bool never = f.text("prepend_scheme", "always") == "never" || !f.flag("add_prefix_space", true);
    return std::make_unique<MetaspaceDecoder>(f.text("replacement"), !never);
  }
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(f.text("suffix"));
  if (type == "CTC") return std::make_unique<CtcDecoder>(f.text("pad_token"), f.text("word_delimiter_token"), f.flag("cleanup"));
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Decoder>> parts;
    for (const Json& part : f.list("decoders"))
      if (auto made = make_decoder(part, concat(where, ".decoders[", parts.size(), "]"))) parts.push_back(std::move(made));
    return std::make_unique<DecoderSequence>(std::move(parts));
  }
  bad(where, concat("unknown decoder '", type, "'"));
}

std::string clean_up_tokenization(std::string text) {
  static constexpr std::pair<const char*, const char*> kReplacements[] = {
      {" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) replace_all(text, from, to);
  return text;
}

}  // namespace backplane::text
