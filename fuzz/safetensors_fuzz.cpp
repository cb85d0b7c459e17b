#include <cstddef>
#include <cstdint>
#include <span>

#include "backplane/base/error.h"
#include "backplane/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    backplane::parse_safetensors(std::as_bytes(std::span(data, size)), size, "input");
  } catch (const backplane::Error&) {
  }
  return 0;
}
