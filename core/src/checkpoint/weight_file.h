#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backplane/base/files.h"
#include "backplane/checkpoint/checkpoint.h"

namespace backplane {

/// One opened file of any format. Immutable once made; `tensor` is thread-safe.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  virtual at::Tensor tensor(size_t index) = 0;
  virtual std::optional<QuantizedBlocks> blocks(size_t) { return std::nullopt; }

  const std::vector<TensorInfo>& infos() const { return infos_; }
  const std::vector<std::pair<std::string, std::string>>& metadata() const { return metadata_; }

 protected:
  std::vector<TensorInfo> infos_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

std::unique_ptr<WeightFile> open_safetensors(const std::string& path);
std::unique_ptr<WeightFile> open_pytorch(const std::string& path);
std::unique_ptr<WeightFile> open_gguf_file(const std::string& path, const GgufMapping* mapping);

/// A dense tensor over mapped bytes, which it keeps mapped; a copy where they are not aligned for its elements.
at::Tensor view_of(const std::shared_ptr<MappedFile>& map, uint64_t begin, const std::vector<int64_t>& shape,
                   at::ScalarType type);

}  // namespace backplane
