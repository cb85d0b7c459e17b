#pragma once

#include <memory>
#include <string>

#include "backplane/base/json.h"
#include "text/aligned_text.h"

namespace backplane::text {

// One normalizer of tokenizer.json. Immutable, any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(AlignedText& text) const = 0;
};

// Null for JSON null. `where` is file and key for messages. Throws `bad_tokenizer`.
std::unique_ptr<Normalizer> make_normalizer(const Json& config, const std::string& where);

}  // namespace backplane::text
