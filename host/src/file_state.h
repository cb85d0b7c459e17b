#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace backplane {

/// What stat says of a file: enough to see that it is another than before.
struct FileState {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size = 0;
  int64_t modified_ns = 0;
  friend bool operator==(const FileState&, const FileState&) = default;
};

/// All zero where there is no such file.
inline FileState file_state(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, status.st_size, status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
}

}  // namespace backplane
