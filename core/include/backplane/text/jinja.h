#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/json.h"

namespace backplane {

/// A moment on the wall clock, as `strftime_now` sees it: month and day from 1, microsecond below 1000000.
struct WallClock {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0, microsecond = 0;

  /// The local time of this machine.
  static WallClock now();
};

/// What a template did wrong, or said by raise_exception. `what()` adds the place to `message()`.
class JinjaError : public Error {
 public:
  JinjaError(ErrorCode code, std::string type, std::string message, const std::string& where)
      : Error(code, message + where), type_(std::move(type)), message_(std::move(message)) {}

  /// The reference's exception: "TemplateSyntaxError", "UndefinedError", "SecurityError", "TypeError", …
  const std::string& type() const noexcept { return type_; }
  /// The reference's text, without the place.
  const std::string& message() const noexcept { return message_; }

 private:
  std::string type_, message_;
};

struct RenderOptions {
  /// Read at most once a call of strftime_now. Empty: the machine's clock.
  std::function<WallClock()> clock;
  /// Keys of the context whose strings count as the template's own text (the special tokens).
  std::set<std::string> trusted;
};

/// A stretch of a rendered text, in bytes.
struct TextPart {
  size_t begin = 0, end = 0;
  bool from_user = false;  ///< came from the context; false: written by the template or a trusted key
  bool operator==(const TextPart&) const = default;
};

struct JinjaOutput {
  std::string text;
  /// Begin and end, in code points, of each `{% generation %}` block, in the order in which the blocks ended.
  std::vector<std::pair<size_t, size_t>> generations;
  /// The whole text in order; neighbours differ in `from_user`. The origin of each piece is followed through
  /// concatenation, slices, filters, methods, repr and tojson.
  std::vector<TextPart> parts;
};

/// A template of the dialect that transformers gives chat templates: Jinja 3.1 in the immutable sandbox with
/// trim_blocks, lstrip_blocks, loop controls, `{% generation %}`, its own tojson, raise_exception and strftime_now.
/// Values print as Python prints them. Immutable once parsed; may be rendered by several threads at once.
class JinjaTemplate {
 public:
  /// Throws `bad_template` with line and column, `limit_exceeded` where blocks or expressions nest too deeply.
  /// `name` stands for the template in messages.
  static JinjaTemplate parse(std::string_view source, std::string name = "chat template");

  /// Throws JinjaError (`bad_template`; `limit_exceeded` beyond the caps of base/limits.h on steps, depth and output).
  std::string render(const Json& context, const RenderOptions& options = {}) const;
  JinjaOutput render_parts(const Json& context, const RenderOptions& options = {}) const;

  /// Whether the template has a `{% generation %}` block.
  bool has_generation() const;

  struct Program;

 private:
  std::shared_ptr<const Program> program_;
};

}  // namespace backplane
