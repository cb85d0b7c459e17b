#pragma once

#include <memory>
#include <vector>

#include "backplane/base/json.h"
#include "backplane/text/tokenizer.h"

namespace backplane::text {

// The post-processor of tokenizer.json: puts special tokens around one or two encodings. Immutable, any thread.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  // How many tokens are added to one text or a pair.
  virtual size_t added(bool pair) const = 0;
  // `encodings` become the parts of the result, in order.
  virtual void process(std::vector<Encoding>& encodings, bool add_special_tokens, bool details) const = 0;
};

// Null for JSON null. Throws `bad_tokenizer`.
std::unique_ptr<PostProcessor> make_post_processor(const Json& config, const std::string& where);

// The whole of Rust's `process`: `processor` may be null, `encodings` are one or two.
Encoding post_process(const PostProcessor* processor, std::vector<Encoding> encodings, bool add_special_tokens, bool details);

}  // namespace backplane::text
