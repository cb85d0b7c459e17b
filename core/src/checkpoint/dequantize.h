#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "backplane/formats/gguf.h"

namespace backplane {

bool can_dequantize(GgmlType type);

/// Whole blocks to float32, bit-equal to the `gguf` package of Python; out.size() elements.
void dequantize(GgmlType type, std::span<const std::byte> blocks, std::span<float> out);

}  // namespace backplane
