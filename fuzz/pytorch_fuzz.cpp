#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/formats/pytorch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace backplane;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    for (const auto& storage : parse_pytorch(bytes, "input").storages) {
      if (!storage.compressed) continue;
      std::vector<std::byte> out(storage.bytes);
      inflate_storage(storage, bytes, out, "input");
    }
  } catch (const Error&) {
  }
  return 0;
}
