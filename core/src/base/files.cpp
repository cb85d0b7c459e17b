#include "backplane/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/filesystem.hpp>
#include <cerrno>
#include <cstring>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

namespace fs = boost::filesystem;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void throw_errno(const std::string& path, const char* action) {
  const int error = errno;
  const auto code = error == ENOENT || error == ENOTDIR ? ErrorCode::file_not_found : ErrorCode::io;
  throw Error(code, concat("cannot ", action, " '", path, "': ", std::strerror(error)));
}

uint64_t open_regular(const std::string& path, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw_errno(path, "stat");
  if (!S_ISREG(info.st_mode)) throw Error(ErrorCode::io, concat("'", path, "' is not a regular file"));
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace

std::string read_file(const std::string& path, uint64_t max_bytes) {
  // O_NONBLOCK: a FIFO planted under the name must not make the open wait for ever.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) throw_errno(path, "open");
  const uint64_t size = open_regular(path, fd);
  if (size > max_bytes) {
    throw Error(ErrorCode::limit_exceeded,
                concat("'", path, "' has ", size, " bytes; at most ", max_bytes, " are read"));
  }
  std::string bytes(size, '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(path, "read");
    if (count == 0) break;
    done += static_cast<size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

void write_file(const std::string& path, std::string_view bytes) {
  std::string temporary = path + ".XXXXXX";
  Descriptor fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (fd < 0) throw_errno(path, "write");
  try {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::write(fd, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw_errno(path, "write");
      done += static_cast<size_t>(count);
    }
    ::fchmod(fd, 0644);
    if (::fsync(fd) != 0) throw_errno(path, "sync");
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno(path, "rename to");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

std::string path_beneath(const std::string& folder, std::string_view name) {
  for (const auto& part : split(name, '/')) {
    if (!is_plain_file_name(part)) {
      throw Error(ErrorCode::bad_file_name, concat("file name '", name, "' leaves the folder '", folder,
                                                   "'; expected plain names separated by '/'"));
    }
  }
  const fs::path path = fs::path(folder) / std::string(name);
  boost::system::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) return path.string();  // absent: whoever opens it says so
  fs::path root = fs::canonical(folder);
  // <repo>/snapshots/<commit>/… links into <repo>/blobs
  for (fs::path up = root; up.has_parent_path() && up != up.root_path(); up = up.parent_path()) {
    if (up.filename() == "snapshots") {
      root = up.parent_path();
      break;
    }
  }
  const auto mismatch = std::mismatch(root.begin(), root.end(), real.begin(), real.end());
  if (mismatch.first != root.end()) {
    throw Error(ErrorCode::bad_file_name,
                concat("'", path.string(), "' is a link to '", real.string(), "', outside of '", root.string(), "'"));
  }
  return path.string();
}

bool file_exists(const std::string& path) {
  boost::system::error_code error;
  return fs::is_regular_file(path, error);
}

bool folder_exists(const std::string& path) {
  boost::system::error_code error;
  return fs::is_directory(path, error);
}

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) throw_errno(path, "open");
  const uint64_t size = open_regular(path, fd);
  if (size == 0) return std::shared_ptr<MappedFile>(new MappedFile(path, nullptr, 0));
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  if (data == MAP_FAILED) throw_errno(path, "map");
  return std::shared_ptr<MappedFile>(new MappedFile(path, static_cast<std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
}

}  // namespace backplane
