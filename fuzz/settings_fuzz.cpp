// backplane.yaml
#include <cstdint>
#include <string_view>

#include "backplane/base/error.h"
#include "backplane/host/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  backplane::Settings settings;
  try {
    backplane::read_settings(settings, {reinterpret_cast<const char*>(data), size}, "backplane.yaml");
  } catch (const backplane::Error&) {
  }
  return 0;
}
