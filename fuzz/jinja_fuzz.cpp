#include <cstddef>
#include <cstdint>
#include <string_view>

#include "backplane/text/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const backplane::Json kContext = backplane::Json::parse(
      R"({"messages": [{"role": "user", "content": "Hé \"q\""}, {"role": "assistant", "content": null}], "tools": [{"a": [1, 2.5]}], "n": 3, "s": "text"})");
  try {
    backplane::JinjaTemplate::parse({reinterpret_cast<const char*>(data), size}).render_parts(kContext);
  } catch (const backplane::Error&) {
  }
  return 0;
}
