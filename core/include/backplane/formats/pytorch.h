#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "backplane/formats/dtype.h"

// What torch.save writes: a zip archive with a pickle and a record for each storage, or the older stream of pickles.
// The pickle is read by an interpreter of its own that can build tensors, containers, numbers and texts, and calls
// nothing.
namespace backplane {

struct PytorchStorage {
  std::string key;
  uint64_t bytes = 0;  // when read
  uint64_t begin = 0;  // where its bytes lie in the file
  uint64_t end = 0;
  bool compressed = false;
  uint32_t crc = 0;  // of a compressed one
};

struct PytorchTensor {
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements; every element lies within the storage
  int64_t offset = 0;            // in elements
  size_t storage = 0;            // position in PytorchFile::storages
};

struct PytorchFile {
  std::vector<PytorchTensor> tensors;  // of the dictionary at the top, in its order
  std::vector<PytorchStorage> storages;
};

/// Throws `bad_checkpoint` naming file, key or byte; `limit_exceeded`.
PytorchFile parse_pytorch(std::span<const std::byte> bytes, const std::string& file);

/// Inflates a compressed storage into `out`, which has its size. Throws `bad_checkpoint` where it does not give exactly
/// these bytes or their checksum.
void inflate_storage(const PytorchStorage& storage, std::span<const std::byte> bytes, std::span<std::byte> out,
                     const std::string& file);

}  // namespace backplane
