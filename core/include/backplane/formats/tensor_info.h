#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backplane/formats/dtype.h"

namespace backplane {

/// A tensor as the directory of a weight file describes it. Its elements are row-major and dense; for a GGUF file
/// `dtype` is what the blocks give when they are dequantised.
struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes from the start of `file`
  uint64_t end = 0;
  std::string file;

  uint64_t numel() const {
    uint64_t count = 1;
    for (int64_t size : shape) count *= static_cast<uint64_t>(size);
    return count;
  }
};

}  // namespace backplane
