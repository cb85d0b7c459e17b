#include "text/pre_tokenizers.h"

#include <cstring>

#include "text/pattern.h"

namespace backplane::text {
namespace {

using Cuts = std::vector<Span>;

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior read_behavior(const Fields& f, const char* key, Behavior absent) {
  const std::string name = f.text(key, "");
  if (name.empty() && !f.has(key)) return absent;
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  bad(f.path(key), concat("unknown behavior '", name, "'"));
}

void add(Cuts& cuts, uint32_t begin, uint32_t end) {
  if (begin < end) cuts.push_back({begin, end});
}

struct Part {
  Span span;
  bool is_match;
};

// Appends the pieces of `cut`, given the matches in it (in the text's positions).
void split_cut(Span cut, const Cuts& matches, Behavior behavior, bool invert, Cuts& out) {
  if (behavior == Behavior::isolated || behavior == Behavior::removed) {
    const bool keep_match = behavior == Behavior::isolated || invert;
    const bool keep_gap = behavior == Behavior::isolated || !invert;
    uint32_t at = cut.begin;
    for (const Span& match : matches) {
      if (keep_gap) add(out, at, match.begin);
      if (keep_match) add(out, match.begin, match.end);
      at = match.end;
    }
    if (keep_gap) add(out, at, cut.end);
    return;
  }
  std::vector<Part> parts;
  uint32_t at = cut.begin;
  for (const Span& match : matches) {
    if (at < match.begin) parts.push_back({{at, match.begin}, invert});
    parts.push_back({match, !invert});
    at = match.end;
  }
  if (at < cut.end) parts.push_back({{at, cut.end}, invert});

  const size_t start = out.size();
  bool previous = false;
  if (behavior == Behavior::merged_with_next) {
    for (size_t i = parts.size(); i-- > 0;) {
      if (parts[i].is_match && !previous && out.size() > start) out.back().begin = parts[i].span.begin;
      else out.push_back(parts[i].span);
      previous = parts[i].is_match;
    }
    std::reverse(out.begin() + static_cast<ptrdiff_t>(start), out.end());
  } else {
    for (const Part& part : parts) {
      const bool joins = behavior == Behavior::contiguous ? part.is_match == previous : part.is_match && !previous;
      if (joins && out.size() > start) out.back().end = part.span.end;
      else out.push_back(part.span);
      previous = part.is_match;
    }
  }
  out.erase(std::remove_if(out.begin() + static_cast<ptrdiff_t>(start), out.end(), [](Span s) { return s.begin == s.end; }), out.end());
}

// Splits where single characters match.
template <class Matches>
void split_at(std::string_view text, Cuts& cuts, Scratch& scratch, Behavior behavior, Matches matches_code) {
  Cuts& out = scratch.more_cuts;
  out.clear();
  for (const Span& cut : cuts) {
    scratch.matches.clear();
    for (uint32_t i = cut.begin; i < cut.end;) {
      uint32_t length;
      if (matches_code(decode(text.data() + i, length))) scratch.matches.push_back({i, i + length});
      i += length;
    }
    split_cut(cut, scratch.matches, behavior, false, out);
  }
  cuts.swap(out);
}

// Pieces that are runs of one class; a character of class 0 belongs to none. `alone`: each character is its own run.
template <class Class>
void split_runs(std::string_view text, Cuts& cuts, Scratch& scratch, int alone, Class class_of_code) {
  Cuts& out = scratch.more_cuts;
  out.clear();
  for (const Span& cut : cuts) {
    uint32_t begin = cut.begin;
    int current = 0;
    for (uint32_t i = cut.begin; i < cut.end;) {
      uint32_t length;
      const int next = class_of_code(decode(text.data() + i, length));
      if (next != current || next == alone) {
        if (current) add(out, begin, i);
        begin = i;
        current = next;
      }
      i += length;
    }
    if (current) add(out, begin, cut.end);
  }
  cuts.swap(out);
}

class Split final : public PreTokenizer {
 public:
  Split(Pattern pattern, Behavior behavior, bool invert) : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    Cuts& out = scratch.more_cuts;
    out.clear();
    for (const Span& cut : cuts) {
      const std::string_view piece = text.text().substr(cut.begin, cut.end - cut.begin);
      scratch.matches.clear();
      if (pattern_.scanner()) {
        pattern_.scanner()(piece, cut.begin, scratch.matches);
      } else {
        pattern_.find(piece, scratch.matches);
        for (Span& match : scratch.matches) match = {match.begin + cut.begin, match.end + cut.begin};
      }
      split_cut(cut, scratch.matches, behavior_, invert_, out);
    }
    cuts.swap(out);
  }

 private:
  Pattern pattern_;
  Behavior behavior_;
  bool invert_;
};

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, bool keeps_bytes)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex), keeps_bytes_(keeps_bytes) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    Cuts& out = scratch.more_cuts;
    if (add_prefix_space_ && std::any_of(cuts.begin(), cuts.end(), [&](Span cut) { return text.text()[cut.begin] != ' '; })) {
      AlignedText::Rewrite rewrite(text);
      for (Span& cut : cuts) {
        const auto begin = static_cast<uint32_t>(rewrite.size());
        if (text.text()[cut.begin] != ' ') rewrite.put(" ", cut.begin);
        rewrite.keep(cut.begin, cut.end);
        cut = {begin, static_cast<uint32_t>(rewrite.size())};
      }
      rewrite.commit();
    }
    if (use_regex_) {
      out.clear();
      for (const Span& cut : cuts) gpt2_scanner()(text.text().substr(cut.begin, cut.end - cut.begin), cut.begin, out);
      cuts.swap(out);
    }
    if (keeps_bytes_) return;
    AlignedText::Rewrite rewrite(text);
    for (Span& cut : cuts) {
      const auto begin = static_cast<uint32_t>(rewrite.size());
      for (uint32_t i = cut.begin; i < cut.end; ++i) rewrite.put(kByteToCode[static_cast<uint8_t>(text.text()[i])], i);
      cut = {begin, static_cast<uint32_t>(rewrite.size())};
    }
    rewrite.commit();
  }

 private:
  bool add_prefix_space_, use_regex_, keeps_bytes_;
};

// sentencepiece's way: a visible character stands for the blank, and a piece begins with it.
class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { always, first, never };
  Metaspace(std::string replacement, Prepend prepend, bool split) : replacement_(std::move(replacement)), prepend_(prepend), split_(split) {}
  bool needs_spans() const override { return prepend_ == Prepend::first; }

  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    Cuts& out = scratch.more_cuts;
    out.clear();
    const std::string_view in = text.text();
    AlignedText::Rewrite rewrite(text);
    for (const Span& cut : cuts) {
      auto begin = static_cast<uint32_t>(rewrite.size());
      const std::string_view piece = in.substr(cut.begin, cut.end - cut.begin);
      const bool starts = piece[0] == ' ' || piece.starts_with(replacement_);
      if (!starts && (prepend_ == Prepend::always || (prepend_ == Prepend::first && text.span(cut).begin == 0)))
        rewrite.put(replacement_, cut.begin);
      for (uint32_t i = cut.begin; i < cut.end;) {
        const bool blank = in[i] == ' ';
        if (blank || in.substr(i, replacement_.size()) == replacement_) {
          const auto at = static_cast<uint32_t>(rewrite.size());
          if (split_ && at > begin) {
            out.push_back({begin, at});
            begin = at;
          }
          if (blank) rewrite.put(replacement_, i++);
          else rewrite.keep(i, i + replacement_.size()), i += static_cast<uint32_t>(replacement_.size());
          continue;
        }
        uint32_t end = i + 1;
        while (end < cut.end && in[end] != ' ' && in[end] != replacement_[0]) ++end;
        rewrite.keep(i, end);
        i = end;
      }
      add(out, begin, static_cast<uint32_t>(rewrite.size()));
    }
    rewrite.commit();
    cuts.swap(out);
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

class WhitespaceSplit final : public PreTokenizer {
 public:
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    split_runs(text.text(), cuts, scratch, -1, [](uint32_t code) { return !is_white_space(code); });
  }
};

// \w+|[^\w\s]+
class Whitespace final : public PreTokenizer {
 public:
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    split_runs(text.text(), cuts, scratch, -1, [](uint32_t code) { return is_word(code) ? 1 : is_white_space(code) ? 0 : 2; });
  }
};

class BertPreTokenizer final : public PreTokenizer {
 public:
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    split_runs(text.text(), cuts, scratch, 2, [](uint32_t code) {
      const uint32_t record = record_of(code);
      return record & kWhiteSpace ? 0 : record & kPunctuation8 ? 2 : 1;
    });
  }
};

class Punctuation final : public PreTokenizer {
 public:
  explicit Punctuation(Behavior behavior) : behavior_(behavior) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    split_at(text.text(), cuts, scratch, behavior_, [](uint32_t code) { return record_of(code) & kPunctuation8; });
  }

 private:
  Behavior behavior_;
};

class CharDelimiterSplit final : public PreTokenizer {
 public:
  explicit CharDelimiterSplit(uint32_t delimiter) : delimiter_(delimiter) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    split_at(text.text(), cuts, scratch, Behavior::removed, [this](uint32_t code) { return code == delimiter_; });
  }

 private:
  uint32_t delimiter_;
};

class Digits final : public PreTokenizer {
 public:
  explicit Digits(bool individual) : behavior_(individual ? Behavior::isolated : Behavior::contiguous) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    split_at(text.text(), cuts, scratch, behavior_, is_numeric);
  }

 private:
  Behavior behavior_;
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(uint64_t length) : length_(length) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    Cuts& out = scratch.more_cuts;
    out.clear();
    for (const Span& cut : cuts) {
      uint32_t begin = cut.begin;
      uint64_t count = 0;
      for (uint32_t i = cut.begin; i < cut.end; i += sequence_length(text.text()[i])) {
        if (count++ == length_) {
          add(out, begin, i);
          begin = i;
          count = 1;
        }
      }
      add(out, begin, cut.end);
    }
    cuts.swap(out);
  }

 private:
  uint64_t length_;
};

// A piece for each script. Characters of no script go with what is before them; at the start they are lost, as in the
// reference.
class UnicodeScripts final : public PreTokenizer {
 public:
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    Cuts& out = scratch.more_cuts;
    out.clear();
    for (const Span& cut : cuts) {
      uint32_t begin = cut.end;
      uint8_t last = 0;
      for (uint32_t i = cut.begin; i < cut.end;) {
        uint32_t length;
        const uint8_t script = script_of(decode(text.text().data() + i, length));
        if (script && script != last) {
          add(out, begin, i);
          begin = i;
          last = script;
        }
        i += length;
      }
      add(out, begin, cut.end);
    }
    cuts.swap(out);
  }
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(AlignedText& text, Cuts& cuts, Scratch& scratch) const override {
    for (const auto& part : parts_) part->apply(text, cuts, scratch);
  }
  bool needs_spans() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->needs_spans(); });
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

uint32_t read_character(const Fields& f, const char* key) {
  const std::string text = f.text(key);
  if (count_code_points(text) != 1) bad(f.path(key), concat("expected one character, found '", text, "'"));
  uint32_t length;
  return decode(text.data(), length);
}

}  // namespace

bool ends_with_byte_level(const Json& config) {
  std::vector<const Json*> parts{&config};
  size_t count = 0;
  bool last = false;
  while (!parts.empty()) {
    const Json& part = *parts.back();
    parts.pop_back();
    if (!part.is_object()) continue;
    const std::string type = part.value("type", Json()).is_string() ? part.at("type").get<std::string>() : "";
    if (const auto inner = part.find("pretokenizers"); type == "Sequence" && inner != part.end() && inner->is_array()) {
      for (size_t i = inner->size(); i-- > 0;) parts.push_back(&(*inner)[i]);
    } else {
      last = type == "ByteLevel";
      count += last;
    }
  }
  return last && count == 1;
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& config, bool keeps_bytes, const std::string& where) {
  if (config.is_null()) return nullptr;
  const Fields f(config, where);
  const std::string type = f.text("type");
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(f.flag("add_prefix_space"), f.flag("use_regex", true), keeps_bytes);
  if (type == "Split")
    return std::make_unique<Split>(Pattern::from_json(f.at("pattern"), f.path("pattern")), read_behavior(f, "behavior", Behavior::removed), f.flag("invert", false));
  if (type == "Metaspace") {
    const std::string scheme = f.text("prepend_scheme", "always");
    auto prepend = Metaspace::Prepend::always;
    if (scheme == "first") prepend = Metaspace::Prepend::first;
    else if (scheme == "never") prepend = Metaspace::Prepend::never;
    else if (scheme != "always") bad(f.path("prepend_scheme"), concat("found '", scheme, "', expected always, first or never"));
    if (!f.flag("add_prefix_space", true)) {
      if (f.has("prepend_scheme") && scheme != "never")
        bad(f.path("add_prefix_space"), concat("false contradicts prepend_scheme '", scheme, "'"));
      prepend = Metaspace::Prepend::never;
    }
    std::string replacement;
    append(replacement, read_character(f, "replacement"));
    return std::make_unique<Metaspace>(replacement, prepend, f.flag("split", true));
  }
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "Punctuation") return std::make_unique<Punctuation>(read_behavior(f, "behavior", Behavior::isolated));
  if (type == "CharDelimiterSplit") return std::make_unique<CharDelimiterSplit>(read_character(f, "delimiter"));
  if (type == "Digits") return std::make_unique<Digits>(f.flag("individual_digits", false));
  if (type == "UnicodeScripts") return std::make_unique<UnicodeScripts>();
  if (type == "FixedLength") return std::make_unique<FixedLength>(static_cast<uint64_t>(f.number("length", 1, INT64_MAX, 5)));
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> parts;
    for (const Json& part : f.list("pretokenizers"))
      if (auto made = make_pre_tokenizer(part, keeps_bytes, concat(where, ".pretokenizers[", parts.size(), "]"))) parts.push_back(std::move(made));
    return std::make_unique<PreTokenizerSequence>(std::move(parts));
  }
  bad(where, concat("unknown pre-tokenizer '", type, "'"));
}

}  // namespace backplane::text
