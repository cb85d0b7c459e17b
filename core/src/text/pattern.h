#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/json.h"
#include "text/aligned_text.h"

namespace backplane::text {

// What a Split or Replace looks for: a string, a split pattern that has a scanner here, or any other regular
// expression, which PCRE2 matches under limits. Immutable, any thread.
class Pattern {
 public:
  static Pattern literal(std::string text);
  // Throws `bad_tokenizer` for an expression that does not compile.
  static Pattern regex(const std::string& expression, const std::string& where);
  // {"String": …} or {"Regex": …}
  static Pattern from_json(const Json& config, const std::string& where);

  // The matches in order, none overlapping. Throws `limit_exceeded` where the expression needs too many steps.
  void find(std::string_view text, std::vector<Span>& matches) const;

  struct Compiled;
  using Scanner = void (*)(std::string_view text, uint32_t shift, std::vector<Span>& matches);
  // The scanner that does this expression's work, or null; its spans are moved by `shift`.
  Scanner scanner() const { return scanner_; }

 private:
  Scanner scanner_ = nullptr;
  bool is_literal_ = false;
  std::string literal_;
  std::shared_ptr<const Compiled> compiled_;
};

// GPT-2's expression, which ByteLevel has built in.
Pattern::Scanner gpt2_scanner();
// The scanner of a well-known expression, or null.
Pattern::Scanner find_scanner(std::string_view expression);

}  // namespace backplane::text
