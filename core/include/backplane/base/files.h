#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace backplane {

/// The whole file. Throws `file_not_found` or `io` naming the path, `limit_exceeded` above `max_bytes`.
std::string read_file(const std::string& path, uint64_t max_bytes);

/// Writes to a temporary file beside `path`, syncs and renames, so that a reader sees the old or the new bytes.
void write_file(const std::string& path, std::string_view bytes);

/// True for a name that is one path component: not empty, not "." or "..", no '/', '\' or NUL.
bool is_plain_file_name(std::string_view name);

/// `folder` joined with `name`, which must be plain components separated by '/' and stay beneath `folder`, also after
/// symbolic links inside it are followed (links of the hub cache's snapshots into its blobs are allowed).
/// Throws `bad_file_name`.
std::string path_beneath(const std::string& folder, std::string_view name);

bool file_exists(const std::string& path);
bool folder_exists(const std::string& path);

/// A file mapped read-only into memory, pages private and writable (copy on write) so that tensors over it may be
/// trained. Unmapped when the last copy of the shared_ptr goes. Thread-safe once made.
class MappedFile {
 public:
  /// Throws `file_not_found` or `io`, naming the path.
  static std::shared_ptr<MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(std::string path, std::byte* data, size_t size) : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  std::byte* data_;
  size_t size_;
};

}  // namespace backplane
