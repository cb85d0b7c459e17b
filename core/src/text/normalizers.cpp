#include "text/normalizers.h"

#include <utf8proc.h>

#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/json_fields.h"
#include "text/pattern.h"

namespace backplane::text {
namespace {

using Rewrite = AlignedText::Rewrite;
using Transform = AlignedText::Transform;

// Calls visit(code, begin, length) for every character.
template <class Visit>
void for_each_code(std::string_view text, Visit visit) {
  for (size_t i = 0; i < text.size();) {
    uint32_t length;
    const uint32_t code = decode(text.data() + i, length);
    visit(code, i, length);
    i += length;
  }
}

// Where the first character with one of `flags` begins.
size_t find_flag(std::string_view text, size_t from, uint32_t flags) {
  for (size_t i = from; i < text.size();) {
    uint32_t length;
    if (record_of(decode(text.data() + i, length)) & flags) return i;
    i += length;
  }
  return text.size();
}

// Leaves out the characters that `removes` accepts.
template <class Removes>
void remove_if(AlignedText& text, Removes removes) {
  Rewrite out(text);
  size_t kept = 0;
  for_each_code(text.text(), [&](uint32_t code, size_t begin, uint32_t length) {
    if (!removes(code)) return;
    out.keep(kept, begin);
    kept = begin + length;
  });
  if (kept == 0) return;
  out.keep(kept, text.text().size());
  out.commit();
}

// NFD, NFKD, NFC and NFKC in Unicode 9.0. Only runs between characters that nothing can change are looked at.
class UnicodeForm final : public Normalizer {
 public:
  UnicodeForm(bool compatibility, bool composes) : compatibility_(compatibility), composes_(composes) {
    flags_ = composes ? (compatibility ? kNfkcChanges : kNfcChanges) : (compatibility ? kNfkdChanges : kNfdChanges) | kCombining;
  }

  void apply(AlignedText& text) const override {
    const std::string_view in = text.text();
    size_t dirty = find_flag(in, 0, flags_);
    if (dirty == in.size()) return;
    Rewrite out(text);
    std::vector<Piece> pieces;
    size_t done = 0;
    while (dirty < in.size()) {
      // A composition may reach back to the starter before the run.
      if (composes_ && dirty > done) {
        uint32_t length;
        decode_before(in.data() + dirty, length);
        dirty -= length;
      }
      size_t end = dirty;
      bool first = true;
      while (end < in.size()) {
        uint32_t length;
        if (!(record_of(decode(in.data() + end, length)) & flags_) && !first) break;
        first = false;
        end += length;
      }
      out.keep(done, dirty);
      Transform transform(text, out, dirty, end);
      normalize(in.substr(dirty, end - dirty), pieces);
      for (const Piece& piece : pieces) transform.put(piece.code, piece.change);
      done = end;
      dirty = find_flag(in, end, flags_);
    }
    out.keep(done, in.size());
    out.commit();
  }

 private:
  struct Piece {
    uint32_t code;
    int change;
    uint8_t order;
  };

  void normalize(std::string_view run, std::vector<Piece>& pieces) const {
    pieces.clear();
    size_t sorted = 0;
    const auto sort_marks = [&] {
      std::stable_sort(pieces.begin() + static_cast<ptrdiff_t>(sorted), pieces.end(),
                       [](const Piece& a, const Piece& b) { return a.order < b.order; });
    };
    for_each_code(run, [&](uint32_t code, size_t, uint32_t) {
      uint32_t parts[18];
      const uint32_t count = decompose(code, compatibility_, parts);
      for (uint32_t i = 0; i < count; ++i) {
        const uint8_t order = combining_class(parts[i]);
        if (!order) sort_marks();
        pieces.push_back({parts[i], i != 0, order});
        if (!order) sorted = pieces.size();
      }
    });
    sort_marks();
    if (composes_) recompose(pieces);
  }

  // Canonical composition (UAX 15), in place.
  static void recompose(std::vector<Piece>& pieces) {
    size_t written = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const Piece piece = pieces[i];
      if (starter != SIZE_MAX) {
        const bool adjacent = written == starter + 1;
        const bool blocked = !adjacent && (pieces[written - 1].order >= piece.order || piece.order == 0);
        const uint32_t whole = blocked ? 0 : compose(pieces[starter].code, piece.code);
        if (whole) {
          pieces[starter].code = whole;
          pieces[starter].change += piece.change - 1;
          continue;
        }
      }
      if (!piece.order) starter = written;
      pieces[written++] = piece;
    }
    pieces.resize(written);
  }

  bool compatibility_, composes_;
  uint32_t flags_;
};

class Lowercase final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    const std::string_view in = text.text();
    size_t at = find_flag(in, 0, kLowers);
    if (at == in.size()) return;
    Rewrite out(text);
    size_t done = 0;
    for (; at < in.size(); at = find_flag(in, done, kLowers)) {
      out.keep(done, at);
      uint32_t length;
      const uint32_t code = decode(in.data() + at, length);
      out.put(lowercase(code), at);
      if (code == 0x130) out.put(0x307, at);
      done = at + length;
    }
    out.keep(done, in.size());
    out.commit();
  }
};

class StripAccents final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    remove_if(text, [](uint32_t code) { return record_of(code) & kMark9; });
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(AlignedText& text) const override {
    const std::string_view in = text.text();
    size_t begin = 0, end = in.size();
    uint32_t length;
    while (left_ && begin < end && is_white_space(decode(in.data() + begin, length))) begin += length;
    while (right_ && begin < end && is_white_space(decode_before(in.data() + end, length))) end -= length;
    if (begin == 0 && end == in.size()) return;
    Rewrite out(text);
    out.keep(begin, end);
    out.commit();
  }

 private:
  bool left_, right_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(AlignedText& text) const override {
    std::vector<Span> matches;
    pattern_.find(text.text(), matches);
    if (matches.empty()) return;
    Rewrite out(text);
    size_t done = 0;
    for (const Span& match : matches) {
      out.keep(done, match.begin);
      if (match.end > 0) out.put(content_, match.end - 1);
      else out.put_empty(content_, 0);
      done = match.end;
    }
    out.keep(done, text.text().size());
    out.commit();
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(AlignedText& text) const override {
    if (text.text().empty()) return;
    Rewrite out(text);
    out.put(prefix_, 0);
    out.keep(0, text.text().size());
    out.commit();
  }

 private:
  std::string prefix_;
};

// The first steps of sentencepiece's nmt_nfkc: controls go, what separates becomes a blank.
class Nmt final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    remove_if(text, [](uint32_t c) {
      return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
    });
    Rewrite out(text);
    for_each_code(text.text(), [&](uint32_t c, size_t begin, uint32_t length) {
      const bool blank = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                         c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
      if (blank) out.put(" ", begin);
      else out.keep(begin, begin + length);
    });
    out.commit();
  }
};

class ByteLevelNormalizer final : public Normalizer {
 public:
  void apply(AlignedText& text) const override {
    if (text.text().empty()) return;
    Rewrite out(text);
    for (size_t i = 0; i < text.text().size(); ++i) out.put(kByteToCode[static_cast<uint8_t>(text.text()[i])], i);
    out.commit();
  }
};

// The table of a sentencepiece model, looked up for each grapheme cluster of up to five bytes, then for each character.
class Precompiled final : public Normalizer {
 public:
  Precompiled(std::string_view table, const std::string& where) : map_(table, where) {}

  void apply(AlignedText& text) const override {
    const std::string_view in = text.text();
    size_t at = skip_plain(in, 0);
    if (at == in.size()) return;
    std::vector<std::pair<uint32_t, int>> changes;
    bool modified = false;
    Rewrite out(text);
    size_t done = 0;
    while (at < in.size()) {
      // The cluster may begin with the plain character before.
      if (at > done) {
        uint32_t length;
        decode_before(in.data() + at, length);
        at -= length;
      }
      out.keep(done, at);
      size_t end = run_end(in, at);
      changes.clear();
      for (size_t i = at; i < end;) {
        const size_t next = cluster_end(in, i);
        modified |= normalize_cluster(in.substr(i, next - i), changes);
        i = next;
        // Removed before anything was kept: in the reference all that follows then moves up.
        if (changes.empty()) end = in.size();
      }
      Transform transform(text, out, at, end);
      for (const auto& [code, change] : changes) transform.put(code, change);
      done = end;
      at = skip_plain(in, end);
    }
    if (!modified) return;
    out.keep(done, in.size());
    out.commit();
  }

 private:
  size_t skip_plain(std::string_view in, size_t i) const {
    while (i < in.size()) {
      uint32_t length;
      if (!map_.is_plain(decode(in.data() + i, length))) break;
      i += length;
    }
    return i;
  }
  // A run ends before a second plain character: between two of them nothing reaches across.
  size_t run_end(std::string_view in, size_t i) const {
    bool was_plain = false;
    size_t count = 0;
    for (; i < in.size(); ++count) {
      uint32_t length;
      const bool plain = map_.is_plain(decode(in.data() + i, length));
      if (plain && was_plain && count > 1) return i;
      was_plain = plain;
      i += length;
    }
    return i;
  }
  static size_t cluster_end(std::string_view in, size_t i) {
    uint32_t length;
    uint32_t code = decode(in.data() + i, length);
    i += length;
    utf8proc_int32_t state = 0;
    while (i < in.size()) {
      const uint32_t next = decode(in.data() + i, length);
      if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(code), static_cast<utf8proc_int32_t>(next), &state)) break;
      code = next;
      i += length;
    }
    return i;
  }
  bool normalize_cluster(std::string_view cluster, std::vector<std::pair<uint32_t, int>>& changes) const {
    std::string_view replacement;
    if (cluster.size() < 6 && map_.find(cluster, replacement)) return replace(cluster, replacement, changes), true;
    bool modified = false;
    for_each_code(cluster, [&](uint32_t code, size_t begin, uint32_t length) {
      const std::string_view part = cluster.substr(begin, length);
      if (map_.find(part, replacement)) {
        replace(part, replacement, changes);
        modified = true;
      } else {
        changes.emplace_back(code, 0);
      }
    });
    return modified;
  }
  static void replace(std::string_view from, std::string_view to, std::vector<std::pair<uint32_t, int>>& changes) {
    const auto difference = static_cast<ptrdiff_t>(count_code_points(to)) - static_cast<ptrdiff_t>(count_code_points(from));
    for_each_code(to, [&](uint32_t code, size_t, uint32_t) { changes.emplace_back(code, 0); });
    if (difference > 0) {
      for (ptrdiff_t i = 0; i < difference; ++i) changes[changes.size() - 1 - static_cast<size_t>(i)].second = 1;
    } else if (difference < 0 && !changes.empty()) {
      changes.back().second += static_cast<int>(difference);
    }
  }

  Charsmap map_;
};

class BertNormalizer final : public Normalizer {
 public:
  BertNormalizer(bool clean, bool chinese, bool strip, bool lower) : clean_(clean), chinese_(chinese), strip_(strip), lower_(lower) {
    for (uint32_t c = 0; c < 128; ++c) {
      if (clean_ && (c == 0 || ((record_of(c) & kOther8) && !is_blank(c)))) ascii_[c] = kRemoved;
      else if (clean_ && is_blank(c)) ascii_[c] = ' ';
      else ascii_[c] = static_cast<uint8_t>(lower_ ? lowercase(c) : c);
    }
  }

  void apply(AlignedText& text) const override {
    if (!apply_in_one_pass(text)) apply_in_steps(text);
  }

 private:
  static constexpr uint8_t kRemoved = 0xFF;

  static bool is_blank(uint32_t c) { return c == '\t' || c == '\n' || c == '\r' || c == ' '; }
  static bool is_removed(uint32_t c) { return c == 0 || c == 0xFFFD || ((record_of(c) & kOther8) && !is_blank(c)); }
  static bool is_chinese(uint32_t c) {
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  }

  // False where marks that stay would have to change places.
  bool apply_in_one_pass(AlignedText& text) const {
    const std::string_view in = text.text();
    Rewrite out(text);
    char buffer[512];
    for (size_t i = 0; i < in.size();) {
      if (static_cast<uint8_t>(in[i]) < 0x80) {
        if (text.tracked()) {
          const uint8_t byte = ascii_[static_cast<uint8_t>(in[i])];
          if (byte != kRemoved) out.put(byte, i);
          ++i;
          continue;
        }
        size_t n = 0;
        for (; n < sizeof buffer && i < in.size() && static_cast<uint8_t>(in[i]) < 0x80; ++i) {
          const uint8_t byte = ascii_[static_cast<uint8_t>(in[i])];
          buffer[n] = static_cast<char>(byte);
          n += byte != kRemoved;
        }
        out.put({buffer, n}, 0);
        continue;
      }
      uint32_t length;
      uint32_t code = decode(in.data() + i, length);
      const uint32_t record = record_of(code);
      const size_t at = i;
      i += length;
      if (clean_) {
        if (is_removed(code)) continue;
        if (record & kWhiteSpace) code = ' ';
      }
      const bool spaced = chinese_ && is_chinese(code);
      if (spaced) out.put(" ", at);
      if (strip_ && (record & (kNfdChanges | kCombining))) {
        uint32_t parts[18];
        const uint32_t count = decompose(code, false, parts);
        for (uint32_t k = 0; k < count; ++k) {
          const uint32_t part = record_of(parts[k]);
          if (part & kNonspacing8) continue;
          if (part & kCombining) return false;
          put(out, parts[k], at);
        }
      } else if (!(strip_ && (record & kNonspacing8))) {
        put(out, code, at);
      }
      if (spaced) out.put(" ", at);
    }
    out.commit();
    return true;
  }
  void put(Rewrite& out, uint32_t code, size_t at) const {
    out.put(lower_ ? lowercase(code) : code, at);
    if (lower_ && code == 0x130) out.put(0x307, at);
  }

  void apply_in_steps(AlignedText& text) const {
    if (clean_) {
      remove_if(text, is_removed);
      Rewrite out(text);
      for_each_code(text.text(), [&](uint32_t code, size_t at, uint32_t) { out.put(is_white_space(code) ? ' ' : code, at); });
      out.commit();
    }
    if (chinese_) {
      Rewrite out(text);
      for_each_code(text.text(), [&](uint32_t code, size_t at, uint32_t length) {
        if (is_chinese(code)) out.put(" ", at);
        out.keep(at, at + length);
        if (is_chinese(code)) out.put(" ", at);
      });
      out.commit();
    }
    if (strip_) {
      UnicodeForm(false, false).apply(text);
      remove_if(text, [](uint32_t code) { return record_of(code) & kNonspacing8; });
    }
    if (lower_) Lowercase().apply(text);
  }

  bool clean_, chinese_, strip_, lower_;
  uint8_t ascii_[128];
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(AlignedText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Json& config, const std::string& where) {
  if (config.is_null()) return nullptr;
  const Fields f(config, where);
  const std::string type = f.text("type");
  if (type == "NFC") return std::make_unique<UnicodeForm>(false, true);
  if (type == "NFD") return std::make_unique<UnicodeForm>(false, false);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(true, true);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(true, false);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Strip" || type == "StripNormalizer") return std::make_unique<Strip>(f.flag("strip_left"), f.flag("strip_right"));
  if (type == "Replace") return std::make_unique<Replace>(Pattern::from_json(f.at("pattern"), f.path("pattern")), f.text("content"));
  if (type == "Prepend") return std::make_unique<Prepend>(f.text("prepend"));
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Precompiled") {
    const std::string key = f.path("precompiled_charsmap");
    return std::make_unique<Precompiled>(decode_base64(f.text("precompiled_charsmap"), key), key);
  }
  if (type == "BertNormalizer") {
    const bool lower = f.flag("lowercase");
    return std::make_unique<BertNormalizer>(f.flag("clean_text"), f.flag("handle_chinese_chars"), f.flag("strip_accents", lower), lower);
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (const Json& part : f.list("normalizers"))
      if (auto made = make_normalizer(part, concat(where, ".normalizers[", parts.size(), "]"))) parts.push_back(std::move(made));
    return std::make_unique<NormalizerSequence>(std::move(parts));
  }
  bad(where, concat("unknown normalizer '", type, "'"));
}

}  // namespace backplane::text
