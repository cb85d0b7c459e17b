#include <cstddef>
#include <cstdint>
#include <span>

#include "backplane/base/error.h"
#include "backplane/formats/gguf.h"
#include "backplane/formats/gguf_mapping.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace backplane;
  static const GgufMapping kMapping = {.architecture = "toy",
                                       .model_type = "toy",
                                       .keys = {{"block_count", "num_hidden_layers"}},
                                       .tensors = {{"blk.{n}.attn_q", "layers.{n}.q_proj"}}};
  try {
    if (const auto gguf = parse_gguf(std::as_bytes(std::span(data, size)), size, "input")) {
      gguf_config(*gguf, kMapping);
      for (const auto& tensor : gguf->tensors) gguf_name(tensor.name, kMapping);
      read_gguf_tokenizer(*gguf, "input");
    }
  } catch (const Error&) {
  }
  return 0;
}
