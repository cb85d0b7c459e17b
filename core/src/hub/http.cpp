#include "hub/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <exception>
#include <thread>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "hub/environment.h"

namespace backplane::hub {
namespace {

constexpr int kMaxRedirects = 20;
constexpr size_t kMaxHeaderBytes = 256 << 10;
constexpr size_t kMaxErrorBody = 16 << 10;
// Nobody is there: a server that starts again gets 3.5 s, a computer without a network need not wait longer.
constexpr int kConnectTries = 3;
constexpr std::chrono::seconds kMaxRetryAfter{60};
constexpr long kStalledBytesPerSecond = 64;

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return result;
}

struct UrlHandle {
  CURLU* handle = curl_url();
  ~UrlHandle() { curl_url_cleanup(handle); }
  std::string part(CURLUPart what, unsigned flags = 0) const {
    char* text = nullptr;
    if (curl_url_get(handle, what, &text, flags) != CURLUE_OK) return {};
    std::string result = text;
    curl_free(text);
    return result;
  }
};

bool is_http(const UrlHandle& url) {
  const std::string scheme = lower(url.part(CURLUPART_SCHEME));
  return (scheme == "http" || scheme == "https") && !url.part(CURLUPART_HOST).empty();
}

// A write to a connection that the other side closed must not end the process; libcurl over OpenSSL can do that.
class SigpipeBlock {
 public:
  SigpipeBlock() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~SigpipeBlock() {
    const timespec now{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_, before_;
  bool was_pending_;
};

struct Exchange {
  HttpResponse response;
  const HttpRequest* request = nullptr;
  const BodySink* sink = nullptr;
  size_t header_bytes = 0;
  bool ended = false;
  std::string fault;
  std::exception_ptr thrown;
};

bool is_success(long status) { return status >= 200 && status < 300; }

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size * count);
  exchange.header_bytes += line.size();
  if (exchange.header_bytes > kMaxHeaderBytes) {
    exchange.fault = "headers without an end";
    return 0;
  }
  if (line.starts_with("HTTP/")) {
    exchange.response.headers.clear();
    const size_t space = line.find(' ');
    exchange.response.status =
        space == std::string_view::npos ? 0 : std::strtol(std::string(line.substr(space)).c_str(), nullptr, 10);
  } else if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
    exchange.response.headers[lower(trim(line.substr(0, colon)))] = std::string(trim(line.substr(colon + 1)));
  }
  return line.size();
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view bytes(data, size * count);
  HttpResponse& response = exchange.response;
  if (!is_success(response.status)) {
    response.body.append(bytes.substr(0, kMaxErrorBody - std::min(kMaxErrorBody, response.body.size())));
    return bytes.size();
  }
  if (*exchange.sink) {
    try {
      if ((*exchange.sink)(response, bytes)) return bytes.size();
      exchange.ended = true;
    } catch (...) {
      exchange.thrown = std::current_exception();
    }
    return 0;
  }
  if (response.body.size() + bytes.size() > exchange.request->max_body) {
    exchange.fault = concat("an answer of more than ", exchange.request->max_body, " bytes");
    return 0;
  }
  response.body.append(bytes);
  return bytes.size();
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& stopped = static_cast<Exchange*>(user)->request->stopped;
  return stopped && stopped() ? 1 : 0;
}

std::optional<std::string> proxy_for(const std::map<std::string, std::string>& proxies, const UrlParts& url) {
  for (const std::string& key : {url.scheme + "://" + url.host, url.scheme, "all://" + url.host, std::string("all")}) {
    if (const auto found = proxies.find(key); found != proxies.end()) return found->second;
  }
  return std::nullopt;
}

std::optional<std::chrono::seconds> parse_retry_after(const HttpResponse& response) {
  const auto text = response.header("retry-after");
  if (!text || text->empty()) return std::nullopt;
  if (std::all_of(text->begin(), text->end(), [](unsigned char c) { return std::isdigit(c); })) {
    return std::chrono::seconds(text->size() > 9 ? 999'999'999 : std::stol(*text));
  }
  const time_t date = curl_getdate(text->c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return std::chrono::seconds(std::max<time_t>(0, date - std::time(nullptr)));
}

HttpFailure transport_failure(CURLcode code, const std::string& detail, bool proxied) {
  const std::string text = detail.empty() ? curl_easy_strerror(code) : detail;
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
      return HttpFailure(text, false, false);
    case CURLE_SSL_CONNECT_ERROR:
      return HttpFailure(text, true, false);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST: {
      HttpFailure failure(text, true, !proxied);
      failure.tries = kConnectTries;
      return failure;
    }
    case CURLE_URL_MALFORMAT:
      return HttpFailure(text, false);
    default:
      return HttpFailure(text, true);
  }
}

}  // namespace

std::optional<std::string> HttpResponse::header(const std::string& name) const {
  const auto found = headers.find(name);
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

std::string url_quote(std::string_view text, std::string_view safe) {
  std::string result;
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c)) || std::string_view("_.-~").find(c) != std::string_view::npos ||
        safe.find(c) != std::string_view::npos) {
      result += c;
    } else {
      result += '%';
      result += "0123456789ABCDEF"[static_cast<unsigned char>(c) >> 4];
      result += "0123456789ABCDEF"[static_cast<unsigned char>(c) & 15];
    }
  }
  return result;
}

std::optional<UrlParts> parse_url(const std::string& text) {
  UrlHandle url;
  if (curl_url_set(url.handle, CURLUPART_URL, text.c_str(), CURLU_URLENCODE | CURLU_ALLOW_SPACE) != CURLUE_OK ||
      !is_http(url))
    return std::nullopt;
  return UrlParts{lower(url.part(CURLUPART_SCHEME)), lower(url.part(CURLUPART_HOST)),
                  url.part(CURLUPART_PORT, CURLU_DEFAULT_PORT), url.part(CURLUPART_PATH)};
}

std::optional<std::string> resolve_redirect(const std::string& base, const std::string& location) {
  UrlHandle url;
  constexpr unsigned kFlags = CURLU_URLENCODE | CURLU_ALLOW_SPACE;
  if (curl_url_set(url.handle, CURLUPART_URL, base.c_str(), kFlags) != CURLUE_OK) return std::nullopt;
  if (curl_url_set(url.handle, CURLUPART_URL, location.c_str(), kFlags) != CURLUE_OK || !is_http(url))
    return std::nullopt;
  return url.part(CURLUPART_URL);
}

HttpClient::HttpClient(HttpSettings settings) : settings_(std::move(settings)) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) throw Error(ErrorCode::internal, "libcurl cannot start");
}

HttpClient::~HttpClient() {
  for (void* handle : idle_) curl_easy_cleanup(handle);
}

void* HttpClient::take_handle() {
  std::lock_guard lock(mutex_);
  if (idle_.empty()) return curl_easy_init();
  void* handle = idle_.back();
  idle_.pop_back();
  return handle;
}

void HttpClient::give_handle(void* handle) {
  curl_easy_reset(handle);
  std::lock_guard lock(mutex_);
  idle_.push_back(handle);
}

bool HttpClient::is_endpoint(const std::string& text) const {
  const auto own = parse_url(settings_.endpoint);
  const auto url = parse_url(text);
  return own && url && own->host == url->host && own->port == url->port &&
         (own->scheme == url->scheme || url->scheme == "https");
}

HttpResponse HttpClient::exchange(const HttpRequest& request, const std::string& url, const BodySink& sink) {
  const auto parts = parse_url(url);
  if (!parts) throw HttpFailure(concat("'", url, "' is no http or https address"), false);
  Exchange state;
  state.request = &request;
  state.sink = &sink;
  state.response.url = url;

  CURL* curl = static_cast<CURL*>(take_handle());
  if (!curl) throw HttpFailure("libcurl has no memory for a connection", false);
  const auto give_back = [this](CURL* handle) { give_handle(handle); };
  const std::unique_ptr<CURL, decltype(give_back)> guard(curl, give_back);
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "backplane");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_NOBODY, request.head ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "identity");
  curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &state);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &state);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &state);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, settings_.etag_timeout);
  if (request.short_answer) {
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, settings_.etag_timeout);
  } else {
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStalledBytesPerSecond);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, settings_.download_timeout);
  }
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (const auto bundle = environment(name)) {
      curl_easy_setopt(curl, CURLOPT_CAINFO, bundle->c_str());
      break;
    }
  }
  const auto proxy = proxy_for(settings_.proxies, *parts);
  if (proxy) {
    curl_easy_setopt(curl, CURLOPT_PROXY, proxy->c_str());
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "");
  }
  curl_slist* list = nullptr;
  if (settings_.token && is_endpoint(url))
    list = curl_slist_append(list, concat("Authorization: Bearer ", *settings_.token).c_str());
  if (!request.range.empty()) list = curl_slist_append(list, concat("Range: ", request.range).c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> list_guard(list, curl_slist_free_all);

  CURLcode code;
  {
    SigpipeBlock block;
    code = curl_easy_perform(curl);
  }
  if (state.thrown) std::rethrow_exception(state.thrown);
  if (state.ended) return std::move(state.response);
  if (!state.fault.empty()) throw HttpFailure(state.fault, false);
  if (code == CURLE_ABORTED_BY_CALLBACK) throw HttpFailure("stopped", false);
  if (code != CURLE_OK) throw transport_failure(code, detail, proxy.has_value());
  return std::move(state.response);
}

HttpResponse HttpClient::send(const HttpRequest& request, const BodySink& sink) {
  std::string url = request.url;
  std::map<std::string, std::string> earlier;
  for (int redirects = 0;; ++redirects) {
    HttpResponse response = exchange(request, url, sink);
    // What the hub said before it passed the request on (a renamed repository, a cached copy) stays known.
    for (const char* name : {"x-repo-commit", "x-linked-etag", "x-linked-size"}) {
      if (auto value = response.header(name)) earlier[name] = *value;
    }
    const auto location = response.header("location");
    if (response.status < 300 || response.status >= 400 || !location) {
      response.headers.insert(earlier.begin(), earlier.end());
      if (response.status == 408 || response.status == 429 || response.status >= 500) {
        HttpFailure failure(concat("HTTP status ", response.status), true);
        failure.retry_after = parse_retry_after(response);
        if (failure.retry_after > kMaxRetryAfter) {
          failure = HttpFailure(concat("HTTP status ", response.status, ", and asks to come again in ",
                                       failure.retry_after->count(), " s, more than ", kMaxRetryAfter.count(), " s"),
                                false);
        }
        throw failure;
      }
      return response;
    }
    const auto next = resolve_redirect(url, *location);
    if (!next) throw HttpFailure(concat("a redirect to '", *location, "'; expected an http or https address"), false);
    const bool metadata =
        response.header("x-repo-commit") && (response.header("x-linked-etag") || response.header("etag"));
    const auto from = parse_url(url), to = parse_url(*next);
    const bool same_host = from && to && from->host == to->host && from->port == to->port;
    if (request.stop_at_metadata && metadata && !same_host) {
      response.headers.insert(earlier.begin(), earlier.end());
      return response;
    }
    if (redirects == kMaxRedirects) throw HttpFailure(concat("more than ", kMaxRedirects, " redirects"), false);
    url = *next;
  }
}

void Backoff::progress() {
  begin_ = std::chrono::steady_clock::now();
  tries_ = 0;
}

void Backoff::wait(const HttpFailure& failure) {
  using std::chrono::milliseconds;
  if (!failure.retry || tries_ >= failure.tries || (stopped_ && stopped_())) throw failure;
  milliseconds delay = std::min(milliseconds(500) * (1 << tries_), milliseconds(8000));
  const bool asked = failure.retry_after.has_value();
  if (asked) delay = std::max<milliseconds>(*failure.retry_after, milliseconds(100));
  const auto spent = std::chrono::steady_clock::now() - begin_;
  // The first wait that the hub itself asks for is granted, although it may be longer than the budget.
  if (spent + delay > budget_ && !(asked && tries_ == 0 && budget_ >= kRetryBudget)) throw failure;
  ++tries_;
  const auto until = std::chrono::steady_clock::now() + delay;
  while (std::chrono::steady_clock::now() < until) {
    if (stopped_ && stopped_()) throw failure;
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(until - std::chrono::steady_clock::now(), milliseconds(50)));
  }
}

HttpResponse send_with_retries(HttpClient& client, const HttpRequest& request, std::chrono::milliseconds budget) {
  Backoff backoff(budget, request.stopped);
  for (;;) {
    try {
      return client.send(request);
    } catch (const HttpFailure& failure) {
      backoff.wait(failure);
    }
  }
}

}  // namespace backplane::hub
