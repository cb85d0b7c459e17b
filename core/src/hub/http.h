#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace backplane::hub {

struct HttpSettings {
  std::string endpoint;
  std::optional<std::string> token;
  std::map<std::string, std::string> proxies;
  long etag_timeout = 10;
  long download_timeout = 10;
};

/// Ends requests that no longer make sense: the call's other file failed, say.
using StopFlag = std::function<bool()>;

struct HttpRequest {
  std::string url;
  bool head = false;
  /// Whole answers that must come within etag_timeout; bodies of files only must not stall for download_timeout.
  bool short_answer = true;
  /// "bytes=…" of the Range header, empty for none.
  std::string range;
  /// HEAD: answers whose headers say this are final although they redirect (the hub's own, with the file's ETag).
  bool stop_at_metadata = false;
  /// Bytes of a 2xx body that is gathered in HttpResponse::body; more is a failure.
  uint64_t max_body = 64ull << 20;
  StopFlag stopped;
};

struct HttpResponse {
  long status = 0;
  std::string url;
  /// Names in lower case; the last of doubled ones.
  std::map<std::string, std::string> headers;
  std::string body;

  std::optional<std::string> header(const std::string& name) const;
};

/// No usable answer: no connection, cut, timed out, or a status that asks to come again.
struct HttpFailure : std::runtime_error {
  HttpFailure(const std::string& what, bool retry, bool fall_back = true)
      : std::runtime_error(what), retry(retry), fall_back(fall_back) {}
  bool retry;
  /// The cache may answer in the hub's stead (AC-74: not for TLS and proxy faults).
  bool fall_back;
  /// Retries at most.
  int tries = 5;
  /// What Retry-After asks for.
  std::optional<std::chrono::seconds> retry_after;
};

/// Receives a 2xx body piece by piece, and the response whose headers are complete. false ends the transfer without a
/// failure; exceptions pass through.
using BodySink = std::function<bool(const HttpResponse&, std::string_view)>;

/// HTTP as the hub needs it: redirects followed by hand (http and https only, 20 at most, the token only to the
/// endpoint's own host and port). Thread-safe; connections are kept between requests.
class HttpClient {
 public:
  explicit HttpClient(HttpSettings settings);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// One try. Throws HttpFailure for transport faults and for 408, 429 and 5xx.
  HttpResponse send(const HttpRequest& request, const BodySink& sink = {});

  const HttpSettings& settings() const { return settings_; }
  bool is_endpoint(const std::string& url) const;

 private:
  HttpResponse exchange(const HttpRequest& request, const std::string& url, const BodySink& sink);
  void* take_handle();
  void give_handle(void* handle);

  HttpSettings settings_;
  std::mutex mutex_;
  std::vector<void*> idle_;
};

/// When to try again, and when to give up. A fault that lasts ends `budget` after the last progress.
class Backoff {
 public:
  Backoff(std::chrono::milliseconds budget, StopFlag stopped) : budget_(budget), stopped_(std::move(stopped)) {}
  /// New bytes came: the count starts afresh.
  void progress();
  /// Sleeps, or throws `failure` again when it may not be retried or the time is up.
  void wait(const HttpFailure& failure);

 private:
  std::chrono::milliseconds budget_;
  StopFlag stopped_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  int tries_ = 0;
};

inline constexpr std::chrono::milliseconds kRetryBudget{28'000};
/// Where a cached copy can answer instead.
inline constexpr std::chrono::milliseconds kCachedRetryBudget{8'000};

/// send() until an answer comes or the budget ends.
HttpResponse send_with_retries(HttpClient& client, const HttpRequest& request,
                               std::chrono::milliseconds budget = kRetryBudget);

/// Percent-encodes all but letters, digits, "_.-~" and the characters of `safe`.
std::string url_quote(std::string_view text, std::string_view safe = "/");

struct UrlParts {
  std::string scheme, host, port, path;
};
/// nullopt for what is no http(s) URL. Host in lower case, the port always there.
std::optional<UrlParts> parse_url(const std::string& url);
/// `location` of an answer from `base`; nullopt where the result is no http(s) URL.
std::optional<std::string> resolve_redirect(const std::string& base, const std::string& location);

}  // namespace backplane::hub
