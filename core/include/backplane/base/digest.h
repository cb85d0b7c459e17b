#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace backplane {

/// A running hash over bytes given piece by piece (OpenSSL EVP).
class Digest {
 public:
  enum class Kind { sha1, sha256 };
  explicit Digest(Kind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;

  void update(std::string_view bytes);
  /// Lower-case hexadecimal digits. Ends this hash; a new one needs a new object.
  std::string hex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(std::string_view bytes);
/// Reads the file in pieces. Throws `file_not_found` or `io`, naming the path.
std::string sha256_file(const std::string& path);

}  // namespace backplane
