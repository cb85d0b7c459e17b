#include "checkpoint/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

[[noreturn]] void throw_errno(const std::string& path) {
  throw Error(ErrorCode::io, concat("cannot write '", path, "': ", std::strerror(errno)));
}

}  // namespace

FileWriter::FileWriter(const std::string& path)
    : path_(path), temporary_(path + ".XXXXXX"), fd_(::mkostemp(temporary_.data(), O_CLOEXEC)) {
  if (fd_ < 0) throw_errno(path_);
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

void FileWriter::write(std::string_view bytes) {
  position_ += bytes.size();
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(path_);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void FileWriter::write(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.detach().cpu().contiguous().resolve_conj().resolve_neg();
  if (dense.nbytes() > 0) write(std::string_view(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes()));
}

void FileWriter::close() {
  ::fchmod(fd_, 0644);
  if (::fsync(fd_) != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) throw_errno(path_);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace backplane
