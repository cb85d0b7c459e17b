#include "hub/cache_layout.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/log.h"
#include "backplane/base/progress.h"
#include "backplane/base/strings.h"

namespace backplane::hub {
namespace {

namespace fs = boost::filesystem;

constexpr const char* kCacheRemedy =
    "; the hub cache must be writable to download (HF_HUB_CACHE or cache_dir choose another folder)";

[[noreturn]] void throw_io(const std::string& action, const std::string& path, int error) {
  const bool refused = error == EACCES || error == EROFS || error == EPERM;
  throw Error(ErrorCode::io,
              concat("cannot ", action, " '", path, "': ", std::strerror(error), refused ? kCacheRemedy : ""));
}

bool is_hex(std::string_view text, bool upper) {
  return std::all_of(text.begin(), text.end(), [upper](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (upper && c >= 'A' && c <= 'F');
  });
}

Descriptor open_lock(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (fd < 0) throw_io("create the lock", path, errno);
  return fd;
}

// Some versions of filelock delete the file on release: a lock on a file that lost its name protects nothing.
bool still_named(int fd, const std::string& path) {
  struct stat own {
  }, named{};
  return ::fstat(fd, &own) == 0 && ::stat(path.c_str(), &named) == 0 && own.st_ino == named.st_ino &&
         own.st_dev == named.st_dev;
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

bool is_commit_hash(std::string_view text) { return text.size() == 40 && is_hex(text, true); }
bool is_sha256(std::string_view text) { return text.size() == 64 && is_hex(text, false); }

std::optional<std::string> blob_name(const std::string& header) {
  std::string_view text = trim(header);
  if (text.starts_with("W/")) text.remove_prefix(2);
  while (text.starts_with('"')) text.remove_prefix(1);
  while (text.ends_with('"')) text.remove_suffix(1);
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"'; });
  if (!printable || !is_plain_file_name(text) || text.starts_with('.') || text.size() > 200 ||
      text.ends_with(".incomplete"))
    return std::nullopt;
  return std::string(text);
}

bool is_relative_file(std::string_view name) {
  if (name.empty() || name.size() > 1024) return false;
  for (const auto& part : split(name, '/')) {
    if (!is_plain_file_name(part) || part.size() > 255) return false;
    if (std::any_of(part.begin(), part.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
      return false;
  }
  return true;
}

std::optional<std::string> repo_of_folder(const std::string& name) {
  constexpr std::string_view kPrefix = "models--";
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) return std::nullopt;
  std::string id = name.substr(kPrefix.size());
  if (const size_t at = id.find("--"); at != std::string::npos) id.replace(at, 2, "/");
  return id;
}

bool exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

void make_folders(const std::string& path) {
  boost::system::error_code error;
  fs::create_directories(path, error);
  if (error && !folder_exists(path)) throw_io("create the folder", path, error.value());
}

std::vector<std::string> files_beneath(const std::string& folder) {
  std::vector<std::string> files;
  boost::system::error_code error;
  fs::recursive_directory_iterator it(folder, error), end;
  for (; !error && it != end; it.increment(error)) {
    if (!fs::is_directory(it->symlink_status())) files.push_back(it->path().string().substr(folder.size() + 1));
  }
  std::sort(files.begin(), files.end());
  return files;
}

uint64_t free_bytes(const std::string& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) return UINT64_MAX;
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

std::string disk_report(const std::string& folder) {
  uint64_t bytes = 0, count = 0;
  const std::string cache_dir = parent_of(parent_of(folder));
  boost::system::error_code error;
  for (fs::directory_iterator repo(cache_dir, error), end; !error && repo != end; repo.increment(error)) {
    boost::system::error_code inner;
    for (fs::directory_iterator blob(repo->path() / "blobs", inner), none; !inner && blob != none;
         blob.increment(inner)) {
      if (blob->path().extension() != ".incomplete") continue;
      boost::system::error_code size_error;
      const uint64_t size = fs::file_size(blob->path(), size_error);
      if (size_error) continue;
      bytes += size;
      ++count;
    }
  }
  return concat(format_bytes(double(free_bytes(folder))), " are free in '", folder, "', and ", count,
                " partial downloads (*.incomplete) in '", cache_dir, "' hold ", format_bytes(double(bytes)),
                "; free some space and start again, which resumes them");
}

FileLock FileLock::acquire(const std::string& path, const std::function<bool()>& stopped) {
  make_folders(parent_of(path));
  const auto begin = std::chrono::steady_clock::now();
  auto next_word = std::chrono::seconds(10);
  for (;;) {
    if (auto lock = try_acquire(path)) return std::move(*lock);
    if (stopped && stopped()) throw Error(ErrorCode::io, concat("stopped while waiting for '", path, "'"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (std::chrono::steady_clock::now() - begin > next_word) {
      warn(concat("still waiting for another process that holds '", path, "' and downloads the same file"));
      next_word += std::chrono::seconds(10);
    }
  }
}

std::optional<FileLock> FileLock::try_acquire(const std::string& path) {
  for (;;) {
    Descriptor fd = open_lock(path);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK) return std::nullopt;
      throw_io("lock", path, errno);
    }
    if (still_named(fd, path)) return FileLock(std::move(fd));
  }
}

RepoLayout::RepoLayout(std::string cache_dir, std::string repo_id) : cache_dir_(std::move(cache_dir)) {
  folder_ = concat(cache_dir_, "/models--", join(split(repo_id, '/'), "--"));
}

std::string RepoLayout::locks_folder() const {
  return concat(cache_dir_, "/.locks", std::string_view(folder_).substr(cache_dir_.size()));
}

std::optional<std::string> RepoLayout::read_ref(const std::string& revision) const {
  if (!is_relative_file(revision)) return std::nullopt;
  const std::string path = folder_ + "/refs/" + revision;
  if (!file_exists(path)) return std::nullopt;
  const std::string text = read_file(path, 4096);
  const std::string commit(trim(text));
  if (!is_commit_hash(commit)) return std::nullopt;
  if (commit != text) {
    try {
      write_file(path, commit);
    } catch (const Error&) {  // a cache that can't be written serves as it is
    }
  }
  return commit;
}

void RepoLayout::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit || !is_relative_file(revision)) return;
  try {
    if (read_ref(revision) == commit && exists(snapshot(commit))) return;
    const std::string path = folder_ + "/refs/" + revision;
    make_folders(snapshot(commit));
    make_folders(parent_of(path));
    // The temporary file must not stand in refs/, where Python takes every file for a branch.
    const std::string temporary =
        concat(folder_, "/tmp_ref_", ::getpid(), "_", std::hash<std::thread::id>{}(std::this_thread::get_id()));
    write_file(temporary, commit);
    if (::rename(temporary.c_str(), path.c_str()) != 0) ::unlink(temporary.c_str());
  } catch (const Error&) {
  }
}

bool RepoLayout::known_absent(const std::string& commit, const std::string& file) const {
  return file_exists(concat(folder_, "/.no_exist/", commit, "/", file));
}

void RepoLayout::mark_absent(const std::string& commit, const std::string& file) const {
  try {
    const std::string path = concat(folder_, "/.no_exist/", commit, "/", file);
    make_folders(parent_of(path));
    Descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  } catch (const Error&) {
  }
}

void RepoLayout::link(const std::string& commit, const std::string& file, const std::string& etag) const {
  const std::string path = pointer(commit, file);
  make_folders(parent_of(path));
  std::string target = "../../";
  for (const char c : file) {
    if (c == '/') target += "../";
  }
  target += "blobs/" + etag;
  for (int tries = 0; tries < 10; ++tries) {
    if (::symlink(target.c_str(), path.c_str()) == 0) return;
    if (errno == EPERM || errno == EOPNOTSUPP ||
        errno == ENOSYS) {  // a file system without links: the file itself goes there
      if (::rename(blob(etag).c_str(), path.c_str()) == 0) return;
      throw_io("move the file to", path, errno);
    }
    if (errno != EEXIST) throw_io("link", path, errno);
    char present[4096];
    const ssize_t size = ::readlink(path.c_str(), present, sizeof present);
    if (size >= 0 && std::string_view(present, static_cast<size_t>(size)) == target) return;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_io("replace", path, errno);
  }
  throw_io("link", path, EEXIST);
}

PartialBlob::PartialBlob(const RepoLayout& layout, const std::string& etag, uint64_t expected_size)
    : etag_(etag), blob_path_(layout.blob(etag)), path_(blob_path_ + ".incomplete"), expected_size_(expected_size) {
  make_folders(parent_of(path_));
  fd_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666));
  if (fd_ < 0) fail("open");
  struct stat info {};
  if (::fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode))
    throw Error(ErrorCode::io, concat("'", path_, "' is not a regular file; remove it"));
  size_ = static_cast<uint64_t>(info.st_size);
  start_digests();
  if (size_ > expected_size_ || expected_size_ == UINT64_MAX) restart();
  std::vector<char> buffer(1 << 20);
  for (uint64_t at = 0; at < size_;) {
    const ssize_t count = ::read(fd_, buffer.data(), std::min<uint64_t>(buffer.size(), size_ - at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail("read");
    for (Digest& digest : digests_) digest.update({buffer.data(), static_cast<size_t>(count)});
    at += static_cast<uint64_t>(count);
  }
}

void PartialBlob::start_digests() {
  digests_.clear();
  if (is_sha256(etag_)) {
    digests_.emplace_back(Digest::Kind::sha256);
  } else if (is_commit_hash(etag_) && expected_size_ != UINT64_MAX) {
    digests_.emplace_back(Digest::Kind::sha1)
        .update(concat("blob ", std::to_string(expected_size_), std::string_view("\0", 1)));
    digests_.emplace_back(Digest::Kind::sha1);
  }
}

void PartialBlob::fail(const char* action) const {
  const int error = errno;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    throw Error(ErrorCode::io,
                concat("the disk is full (", std::strerror(error), ") at ", format_bytes(double(size_)), " of ",
                       expected_size_ == UINT64_MAX ? "an unknown size" : format_bytes(double(expected_size_)), " in '",
                       path_, "': ", disk_report(parent_of(path_))));
  }
  throw_io(action, path_, error);
}

void PartialBlob::append(std::string_view bytes) {
  for (Digest& digest : digests_) digest.update(bytes);
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write");
    size_ += static_cast<uint64_t>(count);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void PartialBlob::restart() {
  if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0) fail("truncate");
  start_digests();
  size_ = 0;
}

std::optional<bool> PartialBlob::matches_etag() {
  if (digests_.empty()) return std::nullopt;
  return std::any_of(digests_.begin(), digests_.end(), [this](Digest& digest) { return digest.hex() == etag_; });
}

void PartialBlob::commit() {
  if (::fsync(fd_) != 0) fail("sync");
  if (::rename(path_.c_str(), blob_path_.c_str()) != 0) fail("rename");
}

void PartialBlob::discard() { ::unlink(path_.c_str()); }

}  // namespace backplane::hub
