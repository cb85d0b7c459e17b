#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backplane/base/json.h"
#include "text/model.h"

namespace backplane::text {

// One pre-tokenizer of tokenizer.json: cuts a text into pieces, which the model sees one by one; some change the text.
// Immutable, any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // `cuts` are the pieces so far, in order and not empty.
  virtual void apply(AlignedText& text, std::vector<Span>& cuts, Scratch& scratch) const = 0;
  // The text must know where it came from, even if nobody asks for offsets.
  virtual bool needs_spans() const { return false; }
};

// Null for JSON null. `keeps_bytes`: ByteLevel leaves the bytes as they are, since the model's vocabulary is one of bytes.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Json& config, bool keeps_bytes, const std::string& where);

// ByteLevel comes last and only once, so that a model of bytes can stand behind it.
bool ends_with_byte_level(const Json& pre_tokenizer);

}  // namespace backplane::text
