#include "fake_hub.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <thread>

#include "backplane/base/digest.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

constexpr size_t kMaxRequest = 64 << 10;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return text;
}

std::string unquote(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      result += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string sha1(const std::string& bytes) {
  Digest digest(Digest::Kind::sha1);
  digest.update(bytes);
  return digest.hex();
}

struct Repo {
  std::map<std::string, FakeHub::Files> commits;
  std::map<std::string, std::string> refs;
  std::string private_token, gated_token;
};

bool send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = ::send(fd, data, size, MSG_NOSIGNAL);
    if (count <= 0) return false;
    data += count;
    size -= static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

std::string FakeHub::Request::header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

struct FakeHub::Server {
  int listeners[2] = {-1, -1};
  int ports[2] = {0, 0};
  mutable std::mutex mutex;
  std::map<std::string, Repo> repos;
  std::function<void(const Request&, Response&)> fault;
  std::vector<Request> log;
  std::atomic<long> throttle = 0;
  std::atomic<bool> stopping = false;
  std::vector<std::thread> threads;
  std::set<int> connections;
  std::condition_variable wake;

  explicit Server(int port) {
    for (int i = 0; i < 2; ++i) {
      listeners[i] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      const int on = 1;
      ::setsockopt(listeners[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = htons(static_cast<uint16_t>(i == 0 ? port : 0));
      socklen_t size = sizeof address;
      if (::bind(listeners[i], reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listeners[i], 64) != 0 ||
          ::getsockname(listeners[i], reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        throw std::runtime_error("fake hub: cannot listen on 127.0.0.1");
      }
      ports[i] = ntohs(address.sin_port);
    }
    std::lock_guard lock(mutex);
    for (int i = 0; i < 2; ++i) threads.emplace_back([this, i] { accept_all(i); });
  }

  ~Server() {
    stopping = true;
    wake.notify_all();
    for (const int fd : listeners) ::shutdown(fd, SHUT_RDWR);
    threads[0].join();
    threads[1].join();
    {
      std::lock_guard lock(mutex);
      for (const int fd : connections) ::shutdown(fd, SHUT_RDWR);
    }
    for (size_t i = 2; i < threads.size(); ++i) threads[i].join();
    for (const int fd : listeners) ::close(fd);
  }

  std::string url(int which) const { return concat("http://127.0.0.1:", ports[which]); }

  void accept_all(int which) {
    while (!stopping) {
      const int fd = ::accept4(listeners[which], nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::lock_guard lock(mutex);
      connections.insert(fd);
      threads.emplace_back([this, fd, which] {
        serve(fd, which == 1);
        std::lock_guard inner(mutex);
        connections.erase(fd);
        ::close(fd);
      });
    }
  }

  void pause(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex);
    wake.wait_for(lock, time, [this] { return stopping.load(); });
  }

  void serve(int fd, bool cdn) {
    std::string input;
    while (!stopping) {
      size_t end;
      while ((end = input.find("\r\n\r\n")) == std::string::npos) {
        char buffer[4096];
        const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
        if (count <= 0 || input.size() > kMaxRequest) return;
        input.append(buffer, static_cast<size_t>(count));
      }
      Request request;
      request.cdn = cdn;
      const auto lines = split(input.substr(0, end), '\n');
      input.erase(0, end + 4);
      const auto words = split(trim(lines[0]), ' ');
      if (words.size() < 3) return;
      request.method = words[0];
      request.target = words[1];
      for (size_t i = 1; i < lines.size(); ++i) {
        const size_t colon = lines[i].find(':');
        if (colon != std::string::npos)
          request.headers[lower(lines[i].substr(0, colon))] = std::string(trim(lines[i].substr(colon + 1)));
      }
      Response response;
      {
        std::lock_guard lock(mutex);
        log.push_back(request);
        response = answer(request);
        if (fault) fault(request, response);
      }
      if (!reply(fd, request, response)) return;
    }
  }

  bool reply(int fd, const Request& request, const Response& response) {
    if (response.drop) return false;
    std::string head = concat("HTTP/1.1 ", response.status, " Fake\r\n");
    for (const auto& [name, value] : response.headers) head += concat(name, ": ", value, "\r\n");
    if (!response.headers.count("Content-Length")) {
      head +=
          concat("Content-Length: ", response.declared >= 0 ? response.declared : long(response.body.size()), "\r\n");
    }
    head += "\r\n";
    if (!send_all(fd, head.data(), head.size())) return false;
    if (request.method == "HEAD") return true;
    const size_t size = response.cut_after >= 0 ? std::min<size_t>(response.body.size(), size_t(response.cut_after))
                                                : response.body.size();
    const long rate = throttle;
    const size_t piece = rate > 0 ? std::max<size_t>(1, size_t(rate) / 100) : 1 << 20;
    for (size_t at = 0; at < size && !stopping; at += piece) {
      if (!send_all(fd, response.body.data() + at, std::min(piece, size - at))) return false;
      if (rate > 0) pause(std::chrono::milliseconds(10));
    }
    if (response.stall_ms > 0) pause(std::chrono::milliseconds(response.stall_ms));
    return response.cut_after < 0 && response.declared < 0;
  }

  static Response error(int status, const std::string& code, const std::string& message) {
    Response response{.status = status, .body = "{\"error\":\"" + message + "\"}"};
    response.headers["X-Error-Message"] = message;
    if (!code.empty()) response.headers["X-Error-Code"] = code;
    return response;
  }

  static void ranged(const Request& request, Response& response) {
    response.headers["Accept-Ranges"] = "bytes";
    const std::string range = request.header("range");
    if (!range.starts_with("bytes=") || response.status != 200) return;
    const auto ends = split(range.substr(6), '-');
    const size_t size = response.body.size(), first = std::stoull(ends[0]);
    const size_t last =
        ends.size() > 1 && !ends[1].empty() ? std::min<size_t>(std::stoull(ends[1]), size - 1) : size - 1;
    if (first >= size) {
      response.status = 416;
      response.headers["Content-Range"] = concat("bytes */", size);
      response.body.clear();
      return;
    }
    response.status = 206;
    response.headers["Content-Range"] = concat("bytes ", first, "-", last, "/", size);
    response.body = response.body.substr(first, last - first + 1);
  }

  Response answer(const Request& request) const {
    std::string target = request.target.substr(0, request.target.find('?'));
    if (target.starts_with("http://")) target = target.substr(target.find('/', 7));  // as a proxy is asked
    if (request.cdn) {
      for (const auto& [id, repo] : repos) {
        for (const auto& [hash, files] : repo.commits) {
          for (const auto& [name, file] : files) {
            if (target != "/lfs/" + sha256_hex(file.bytes)) continue;
            Response response{.body = file.bytes};
            ranged(request, response);
            return response;
          }
        }
      }
      return error(404, "", "no such object");
    }
    const bool api = target.starts_with("/api/models/");
    const std::string path = api ? target.substr(12) : target.substr(1);
    for (const char* kind : {"/resolve/", "/revision/", "/tree/"}) {
      const size_t at = path.find(kind);
      if (at == std::string::npos) continue;
      return answer_repo(request, path.substr(0, at), kind, path.substr(at + std::string_view(kind).size()), api);
    }
    return error(404, "", "no such route");
  }

  Response answer_repo(const Request& request, const std::string& id, std::string_view kind, const std::string& rest,
                       bool api) const {
    const auto found = repos.find(id);
    const std::string bearer = request.header("authorization");
    const auto may = [&](const std::string& token) { return token.empty() || bearer == "Bearer " + token; };
    if (found == repos.end() || !may(found->second.private_token)) {
      return bearer.empty() ? error(401, "", "Invalid username or password.")
                            : error(404, "RepoNotFound", "Repository not found");
    }
    const Repo& repo = found->second;
    const std::string revision = unquote(rest.substr(0, rest.find('/')));
    const auto ref = repo.refs.find(revision);
    const std::string commit = ref == repo.refs.end() ? revision : ref->second;
    const auto tree = repo.commits.find(commit);
    if (tree == repo.commits.end()) return error(404, "RevisionNotFound", "Invalid rev id: " + revision);
    if (api) {
      Response response;
      nlohmann::json list = nlohmann::json::array();
      for (const auto& [name, file] : tree->second) {
        if (kind == "/tree/")
          list.push_back({{"type", "file"}, {"path", name}, {"size", file.bytes.size()}});
        else
          list.push_back({{"rfilename", name}});
      }
      response.body =
          kind == "/tree/" ? list.dump() : nlohmann::json{{"id", id}, {"sha", commit}, {"siblings", list}}.dump();
      response.headers["Content-Type"] = "application/json";
      return response;
    }
    if (!may(repo.gated_token))
      return error(bearer.empty() ? 401 : 403, "GatedRepo", "Access to model " + id + " is restricted.");
    const size_t slash = rest.find('/');
    const auto file = tree->second.find(slash == std::string::npos ? "" : unquote(rest.substr(slash + 1)));
    if (file == tree->second.end()) {
      Response response = error(404, "EntryNotFound", "Entry not found");
      response.headers["X-Repo-Commit"] = commit;
      return response;
    }
    const std::string& bytes = file->second.bytes;
    Response response;
    response.headers["X-Repo-Commit"] = commit;
    if (file->second.lfs) {
      const std::string hash = sha256_hex(bytes);
      response.status = 302;
      response.headers["Location"] = concat(url(1), "/lfs/", hash);
      response.headers["X-Linked-Etag"] = concat("\"", file->second.etag.empty() ? hash : file->second.etag, "\"");
      response.headers["X-Linked-Size"] = concat(bytes.size());
      return response;
    }
    response.headers["ETag"] = concat("\"", file->second.etag.empty() ? git_hash(bytes) : file->second.etag, "\"");
    response.body = bytes;
    ranged(request, response);
    return response;
  }
};

FakeHub::FakeHub(int port) : server_(std::make_unique<Server>(port)) {}
FakeHub::~FakeHub() = default;

std::string FakeHub::endpoint() const { return server_->url(0); }
std::string FakeHub::cdn_endpoint() const { return server_->url(1); }

std::string FakeHub::git_hash(const std::string& bytes) {
  return sha1(concat("blob ", std::to_string(bytes.size()), std::string(1, '\0'), bytes));
}

std::string FakeHub::commit(const std::string& id, Files files, const std::string& branch) {
  std::lock_guard lock(server_->mutex);
  Repo& repo = server_->repos[id];
  std::string content = concat(id, " ", repo.commits.size());
  for (const auto& [name, file] : files) content += concat("\n", name, " ", git_hash(file.bytes));
  const std::string hash = sha1(content);
  repo.commits[hash] = std::move(files);
  repo.refs[branch] = hash;
  return hash;
}

void FakeHub::tag(const std::string& repo, const std::string& name, const std::string& commit) {
  std::lock_guard lock(server_->mutex);
  server_->repos[repo].refs[name] = commit;
}

void FakeHub::set_private(const std::string& repo, const std::string& token) {
  std::lock_guard lock(server_->mutex);
  server_->repos[repo].private_token = token;
}

void FakeHub::set_gated(const std::string& repo, const std::string& token) {
  std::lock_guard lock(server_->mutex);
  server_->repos[repo].gated_token = token;
}

void FakeHub::set_fault(std::function<void(const Request&, Response&)> fault) {
  std::lock_guard lock(server_->mutex);
  server_->fault = std::move(fault);
}

void FakeHub::set_throttle(long bytes_per_second) { server_->throttle = bytes_per_second; }

std::vector<FakeHub::Request> FakeHub::requests() const {
  std::lock_guard lock(server_->mutex);
  return server_->log;
}

size_t FakeHub::count(const std::string& method) const {
  const auto all = requests();
  return static_cast<size_t>(
      std::count_if(all.begin(), all.end(), [&](const Request& request) { return request.method == method; }));
}

void FakeHub::clear_requests() {
  std::lock_guard lock(server_->mutex);
  server_->log.clear();
}

}  // namespace backplane
