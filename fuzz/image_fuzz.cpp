#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backplane/base/error.h"
#include "backplane/vision/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    backplane::convert_to_rgb(
        backplane::apply_orientation(backplane::decode_image({reinterpret_cast<const char*>(data), size}, "input")));
  } catch (const backplane::Error&) {
  }
  return 0;
}
