#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backplane/base/error.h"
#include "text/sentencepiece.h"

// Bytes as a SentencePiece model, which then cuts and joins a text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto model = backplane::text::SentencePiece::parse({reinterpret_cast<const char*>(data), size}, "model");
    model.decode(model.encode("Hello  w\xC3\xB6rld \xF0\x9F\x91\x8D \xFF"));
  } catch (const backplane::Error&) {
  }
  return 0;
}
