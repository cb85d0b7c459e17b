#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/base/digest.h"
#include "backplane/base/strings.h"

namespace backplane::hub {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();
  operator int() const { return fd_; }

 private:
  int fd_;
};

/// An exclusive flock(2), as Python's filelock takes it; released when it goes, or when the process dies.
class FileLock {
 public:
  /// Waits, and says so every ten seconds. Throws `io` where the file can't be made.
  static FileLock acquire(const std::string& path, const std::function<bool()>& stopped);
  /// nullopt where somebody else holds it.
  static std::optional<FileLock> try_acquire(const std::string& path);

 private:
  explicit FileLock(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

/// Where things are in `models--org--name` (AC-71). Every name that comes from elsewhere is checked before it becomes
/// part of a path.
class RepoLayout {
 public:
  RepoLayout(std::string cache_dir, std::string repo_id);

  const std::string& cache_dir() const { return cache_dir_; }
  const std::string& folder() const { return folder_; }
  std::string blob(const std::string& etag) const { return folder_ + "/blobs/" + etag; }
  std::string locks_folder() const;
  std::string lock(const std::string& etag) const { return concat(locks_folder(), "/", etag, ".lock"); }
  std::string snapshot(const std::string& commit) const { return folder_ + "/snapshots/" + commit; }
  std::string pointer(const std::string& commit, const std::string& file) const {
    return snapshot(commit) + "/" + file;
  }

  /// The commit that `refs/<revision>` holds; one that is followed by a line end is mended.
  std::optional<std::string> read_ref(const std::string& revision) const;
  /// Quietly does nothing where the cache can't be written. Makes the snapshot's folder too: Python calls a cache
  /// damaged whose refs name an absent one.
  void write_ref(const std::string& revision, const std::string& commit) const;

  bool known_absent(const std::string& commit, const std::string& file) const;
  /// Quietly does nothing where the cache can't be written.
  void mark_absent(const std::string& commit, const std::string& file) const;
  /// Links the snapshot's file to its blob. Throws `io`.
  void link(const std::string& commit, const std::string& file, const std::string& etag) const;

 private:
  std::string cache_dir_;
  std::string folder_;
};

/// `blobs/<etag>.incomplete`, whose lock the caller holds: bytes are added, hashed, and at the end moved to the blob's
/// own name.
class PartialBlob {
 public:
  /// Opens or creates it, and hashes what is there. `expected_size` UINT64_MAX: not known. Throws `io`.
  PartialBlob(const RepoLayout& layout, const std::string& etag, uint64_t expected_size);

  uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  /// Throws `io`; for a full disk it says what is free and what partial files occupy.
  void append(std::string_view bytes);
  void restart();
  /// Whether the bytes have the hash that the ETag is: the sha256 of an LFS file, git's id of a blob (or the plain sha1
  /// that mirrors take instead). nullopt where it is none. To be asked once, when the bytes are complete.
  std::optional<bool> matches_etag();
  /// Syncs, and renames over the blob.
  void commit();
  void discard();

 private:
  [[noreturn]] void fail(const char* action) const;
  void start_digests();

  std::string etag_;
  std::string blob_path_;
  std::string path_;
  Descriptor fd_;
  std::vector<Digest> digests_;
  uint64_t size_ = 0;
  uint64_t expected_size_;
};

/// 40 hexadecimal digits.
bool is_commit_hash(std::string_view text);
/// 64 hexadecimal digits in lower case: the name of an LFS blob.
bool is_sha256(std::string_view text);
/// An ETag header as a blob's name; nullopt for what is no plain file name (AC-73).
std::optional<std::string> blob_name(const std::string& etag_header);
/// Plain components separated by "/", short enough for a file system, without control characters.
bool is_relative_file(std::string_view name);
/// `models--org--name` -> `org/name`
std::optional<std::string> repo_of_folder(const std::string& folder_name);
bool exists(const std::string& path);
/// Makes the folder and its parents. Throws `io`.
void make_folders(const std::string& path);
std::vector<std::string> files_beneath(const std::string& folder);
/// What is free on the disk of `folder`, and what `*.incomplete` files of this cache occupy.
std::string disk_report(const std::string& folder);
uint64_t free_bytes(const std::string& folder);

}  // namespace backplane::hub
