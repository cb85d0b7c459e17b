#include "backplane/base/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

namespace backplane {

struct Digest::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

Digest::Digest(Kind kind) : context_(std::make_unique<Context>()) {
  const EVP_MD* algorithm = kind == Kind::sha1 ? EVP_sha1() : EVP_sha256();
  if (!context_->evp || EVP_DigestInit_ex(context_->evp, algorithm, nullptr) != 1) {
    throw Error(ErrorCode::internal, "openssl offers no sha1 or sha256; its configuration may forbid them");
  }
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::string_view bytes) {
  if (EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) != 1)
    throw Error(ErrorCode::internal, "openssl refused to hash");
}

std::string Digest::hex() {
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context_->evp, value, &size) != 1) throw Error(ErrorCode::internal, "openssl refused to hash");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[value[i] >> 4];
    text += "0123456789abcdef"[value[i] & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view bytes) {
  Digest digest(Digest::Kind::sha256);
  digest.update(bytes);
  return digest.hex();
}

std::string sha256_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    throw Error(errno == ENOENT || errno == ENOTDIR ? ErrorCode::file_not_found : ErrorCode::io,
                concat("cannot open '", path, "': ", std::strerror(errno)));
  }
  Digest digest(Digest::Kind::sha256);
  std::vector<char> buffer(1 << 20);
  ssize_t count;
  while ((count = ::read(fd, buffer.data(), buffer.size())) > 0 || (count < 0 && errno == EINTR)) {
    if (count > 0) digest.update({buffer.data(), static_cast<size_t>(count)});
  }
  const int error = errno;
  ::close(fd);
  if (count < 0) throw Error(ErrorCode::io, concat("cannot read '", path, "': ", std::strerror(error)));
  return digest.hex();
}

}  // namespace backplane
