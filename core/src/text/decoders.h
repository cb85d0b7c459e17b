#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backplane/base/json.h"

namespace backplane::text {

// One decoder of tokenizer.json: turns tokens into the parts of a text. Immutable, any thread.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

// Null for JSON null. Throws `bad_tokenizer`.
std::unique_ptr<Decoder> make_decoder(const Json& config, const std::string& where);

// transformers' clean_up_tokenization: no blank before punctuation and English contractions.
std::string clean_up_tokenization(std::string text);

}  // namespace backplane::text
