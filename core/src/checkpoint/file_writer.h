#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace backplane {

/// Writes a large file beside `path` and renames it at `close`; without a close it leaves nothing behind.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  void write(std::string_view bytes);
  /// The elements, row-major, from any device and of any strides.
  void write(const at::Tensor& tensor);
  uint64_t position() const { return position_; }
  void close();

 private:
  std::string path_;
  std::string temporary_;
  int fd_;
  uint64_t position_ = 0;
};

}  // namespace backplane
