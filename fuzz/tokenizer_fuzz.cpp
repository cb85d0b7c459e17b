#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backplane/base/log.h"
#include "backplane/text/tokenizer.h"

// A tokenizer.json, a NUL byte, and a text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view json = bytes.substr(0, bytes.find('\0'));
  const std::string_view text = json.size() < size ? bytes.substr(json.size() + 1) : "Hello wörld 12 \xF0\x9F\x98\x80";
  const backplane::WarningCollector quiet;
  try {
    const auto tokenizer = backplane::Tokenizer::from_json(json);
    const backplane::Encoding encoding =
        tokenizer->encode_pair(text, "x", {.padding = backplane::Padding::as_file, .truncation = backplane::Truncation::as_file});
    tokenizer->decode(encoding.ids, {.skip_special_tokens = true});
    tokenizer->to_json();
  } catch (const backplane::Error&) {
  }
  return 0;
}
