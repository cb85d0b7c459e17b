#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/error.h"
#include "text/unicode.h"

namespace backplane::text {

inline constexpr uint64_t kTextBytes = UINT32_MAX;

// A part of a text, in bytes.
struct Span {
  uint32_t begin, end;
};

// A text on its way through normalizers and pre-tokenizers. Where it is tracked, every byte knows which bytes of the
// original it came from. The original is not copied until something changes.
class AlignedText {
 public:
  // `base` is where `original` begins in the whole text; the caller keeps the bytes alive.
  void reset(std::string_view original, uint32_t base, bool tracked) {
    view_ = original;
    base_ = base;
    tracked_ = tracked;
    identity_ = true;
  }

  // A part of another text, whose bytes must stay.
  void reset(const AlignedText& whole, Span part) {
    view_ = whole.view_.substr(part.begin, part.end - part.begin);
    base_ = whole.base_ + part.begin;
    tracked_ = whole.tracked_;
    identity_ = whole.identity_;
    if (identity_ || !tracked_) return;
    const auto& from = whole.spans_[whole.front_];
    spans_[front_].assign(from.begin() + part.begin, from.begin() + part.end);
  }

  std::string_view text() const { return view_; }
  bool tracked() const { return tracked_; }
  // The text still is the original.
  bool identity() const { return identity_; }

  // The original bytes of byte `i`.
  Span span(size_t i) const {
    if (!identity_) return spans_[front_][i];
    size_t begin = i, end = i + 1;
    while (begin > 0 && is_continuation(view_[begin])) --begin;
    while (end < view_.size() && is_continuation(view_[end])) ++end;
    return {base_ + static_cast<uint32_t>(begin), base_ + static_cast<uint32_t>(end)};
  }
  // The original bytes of a part that is not empty.
  Span span(Span part) const { return {span(part.begin).begin, span(part.end - 1).end}; }

  // Builds the next text from the present one, front to back.
  class Rewrite {
   public:
    explicit Rewrite(AlignedText& in) : in_(in), out_(in.buffers_[1 - in.front_]), spans_(in.spans_[1 - in.front_]) {
      out_.clear();
      spans_.clear();
      out_.reserve(in.view_.size() + 16);
    }

    void keep(size_t begin, size_t end) {
      out_.append(in_.view_.data() + begin, end - begin);
      if (!in_.tracked_) return;
      if (!in_.identity_) {
        const auto& from = in_.spans_[in_.front_];
        spans_.insert(spans_.end(), from.begin() + static_cast<ptrdiff_t>(begin), from.begin() + static_cast<ptrdiff_t>(end));
        return;
      }
      for (size_t i = begin; i < end;) {
        const uint32_t length = sequence_length(in_.view_[i]);
        const auto start = in_.base_ + static_cast<uint32_t>(i);
        spans_.insert(spans_.end(), length, Span{start, start + length});
        i += length;
      }
    }
    // `at` is a byte whose original the new bytes stand for.
    void put(std::string_view bytes, size_t at) {
      out_.append(bytes);
      if (in_.tracked_) spans_.insert(spans_.end(), bytes.size(), in_.span(at));
    }
    void put(uint32_t code, size_t at) {
      char bytes[4];
      put({bytes, encode(code, bytes)}, at);
    }
    // New bytes that stand for nothing, before the character at `at`.
    void put_empty(std::string_view bytes, size_t at) {
      out_.append(bytes);
      if (!in_.tracked_) return;
      const uint32_t start = in_.view_.empty() ? in_.base_ : in_.span(std::min(at, in_.view_.size() - 1)).begin;
      spans_.insert(spans_.end(), bytes.size(), Span{start, start});
    }
    size_t size() const { return out_.size(); }

    void commit() {
      if (out_.size() > kTextBytes) throw Error(ErrorCode::limit_exceeded, "a normalized text is longer than 4 GB");
      in_.front_ = 1 - in_.front_;
      in_.view_ = out_;
      in_.identity_ = false;
    }

   private:
    AlignedText& in_;
    std::string& out_;
    std::vector<Span>& spans_;
  };

  // Writes characters that replace, follow or swallow those of the part [begin, end), as Rust's NormalizedString does:
  // change 0 replaces the next character, 1 is inserted after the last, -n replaces one and swallows n more.
  class Transform {
   public:
    Transform(const AlignedText& in, Rewrite& out, size_t begin, size_t end) : in_(in), out_(out), end_(end), at_(begin) {}
    void put(uint32_t code, int change) {
      if (change > 0) {
        char bytes[4];
        if (at_ == 0) out_.put_empty({bytes, encode(code, bytes)}, 0);
        else out_.put(code, at_ - 1);
        return;
      }
      out_.put(code, std::min(at_, end_ - 1));
      skip(1 - change);
    }
    void skip(int characters) {
      for (; characters > 0 && at_ < end_; --characters) at_ += sequence_length(in_.text()[at_]);
    }

   private:
    const AlignedText& in_;
    Rewrite& out_;
    size_t end_, at_;
  };

 private:
  std::string_view view_;
  uint32_t base_ = 0;
  bool tracked_ = false, identity_ = true;
  int front_ = 0;
  std::string buffers_[2];
  std::vector<Span> spans_[2];
};

}  // namespace backplane::text
