#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace backplane {

/// A hub on 127.0.0.1 for tests: the API and resolve routes with their headers, LFS files by a redirect to a second
/// port (as to a CDN), ranges, ETags, gated and private repositories, and any fault that a test wants. Never part of
/// the product.
class FakeHub {
 public:
  struct Request {
    std::string method, target;
    /// Names in lower case.
    std::map<std::string, std::string> headers;
    /// Arrived at the second port.
    bool cdn = false;
    std::string header(const std::string& name) const;
  };
  struct Response {
    int status = 200;
    std::map<std::string, std::string> headers;
    std::string body;
    /// Content-Length as it is declared; -1: the truth.
    long declared = -1;
    /// Closes the connection after so many bytes of the body; -1: never.
    long cut_after = -1;
    /// Says nothing more for so long after `cut_after` bytes, instead of closing.
    int stall_ms = 0;
    /// Closes the connection before a byte of the answer.
    bool drop = false;
  };
  struct File {
    std::string bytes;
    bool lfs = false;
    /// Instead of the hash of the bytes.
    std::string etag;
  };
  using Files = std::map<std::string, File>;

  FakeHub(int port = 0);
  ~FakeHub();
  FakeHub(const FakeHub&) = delete;

  std::string endpoint() const;
  std::string cdn_endpoint() const;

  /// Makes the files the newest commit of the branch, and returns its hash.
  std::string commit(const std::string& repo, Files files, const std::string& branch = "main");
  void tag(const std::string& repo, const std::string& name, const std::string& commit);
  /// Readable only with the token.
  void set_private(const std::string& repo, const std::string& token);
  void set_gated(const std::string& repo, const std::string& token);

  /// Changes what would be answered; called for every request in the order of arrival, under a lock.
  void set_fault(std::function<void(const Request&, Response&)> fault);
  /// Bytes a second for each connection; 0: as fast as possible.
  void set_throttle(long bytes_per_second);

  std::vector<Request> requests() const;
  /// How many requests since the last clear had this method.
  size_t count(const std::string& method) const;
  void clear_requests();

  static std::string git_hash(const std::string& bytes);

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace backplane
