#include "hub/remote.h"

#include <algorithm>
#include <utility>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"

namespace backplane::hub {
namespace {

constexpr uint64_t kMaxListingBytes = 64ull << 20;
constexpr size_t kMaxListedFiles = 1'000'000;
constexpr int kMaxShortAnswers = 3;

std::optional<uint64_t> parse_size(const std::optional<std::string>& text) {
  if (!text || text->empty() || text->size() > 18) return std::nullopt;
  if (!std::all_of(text->begin(), text->end(), [](unsigned char c) { return std::isdigit(c); })) return std::nullopt;
  return std::stoull(*text);
}

struct ContentRange {
  std::optional<uint64_t> first, last, total;
};

// "bytes 5-9/10", "bytes */10"
ContentRange parse_content_range(const HttpResponse& response) {
  ContentRange range;
  const std::string text = response.header("content-range").value_or("");
  const size_t slash = text.find('/');
  if (!text.starts_with("bytes ") || slash == std::string::npos) return range;
  range.total = parse_size(text.substr(slash + 1));
  const auto ends = split(std::string_view(text).substr(6, slash - 6), '-');
  if (ends.size() == 2) {
    range.first = parse_size(ends[0]);
    range.last = parse_size(ends[1]);
  }
  return range;
}

bool is_success(long status) { return status >= 200 && status < 300; }

// The bytes are not the file: another size, or another hash.
struct Damaged {
  std::string what;
};

std::string lower_commit(const std::string& text) {
  if (!is_commit_hash(text)) {
    throw HttpFailure(concat("a commit '", text.substr(0, 80), "'; expected 40 hexadecimal digits"), false);
  }
  std::string commit = text;
  std::transform(commit.begin(), commit.end(), commit.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return commit;
}

}  // namespace

std::string RemoteRepo::file_url(const std::string& revision, const std::string& file) const {
  return concat(client_.settings().endpoint, "/", id_, "/resolve/", url_quote(revision, ""), "/", url_quote(file));
}

void RemoteRepo::refuse(const HttpResponse& response, const std::string& revision) const {
  const std::string& endpoint = client_.settings().endpoint;
  const std::string code = response.header("x-error-code").value_or("");
  const std::string message = response.header("x-error-message").value_or("");
  const bool has_token = client_.settings().token.has_value();
  if (!client_.is_endpoint(response.url)) {
    // A store of large files: another address, from the hub, may do (they expire), but not for long.
    HttpFailure failure(concat("HTTP status ", response.status, " from '", parse_url(response.url)->host, "'"), true);
    failure.tries = 2;
    throw failure;
  }
  if (code == "EntryNotFound") {
    throw Error(ErrorCode::file_not_found, concat("repository '", id_, "' no longer has the file at ", response.url,
                                                  "; it was there a moment ago"));
  }
  if (code == "RevisionNotFound") {
    throw Error(ErrorCode::revision_not_found,
                concat("repository '", id_, "' has no revision '", revision,
                       "'; expected a branch, a tag or a full commit hash, see ", endpoint, "/", id_, "/tree/main"));
  }
  if (code == "GatedRepo" || (response.status == 403 && code != "RepoNotFound")) {
    throw Error(
        ErrorCode::gated_repo,
        concat(
            "repository '", id_, "' is gated or closed to this ", has_token ? "token" : "request, which has no token",
            message.empty() ? "" : concat(" (the hub says: ", message, ")"), "; ask for access at ", endpoint, "/", id_,
            has_token ? " with the account of the token" : " and pass a token of that account (HF_TOKEN, token)"));
  }
  if (code == "RepoNotFound" || response.status == 401 || response.status == 404) {
    const bool bad_token = message == "Invalid credentials in Authorization header";
    throw Error(
        ErrorCode::repo_not_found,
        bad_token
            ? concat("the hub at ", endpoint, " does not know the token that was sent for repository '", id_,
                     "'; set a valid one (HF_TOKEN, token) or none")
            : concat("the hub at ", endpoint, " has no repository '", id_, "' (revision '", revision,
                     "'), or it is private; check the spelling, or pass a token that may read it (HF_TOKEN, token)",
                     has_token ? ": the one that was sent may not" : ""));
  }
  throw HttpFailure(concat("HTTP status ", response.status, message.empty() ? "" : ": " + message), false);
}

RemoteFile RemoteRepo::head(const std::string& revision, const std::string& file, std::chrono::milliseconds budget,
                            const StopFlag& stopped) const {
  const HttpRequest request{
      .url = file_url(revision, file), .head = true, .stop_at_metadata = true, .stopped = stopped};
  const HttpResponse response = send_with_retries(client_, request, budget);
  const auto commit = response.header("x-repo-commit");
  RemoteFile remote;
  if (response.status >= 400) {
    const auto code = response.header("x-error-code");
    if (code != "EntryNotFound" && (code || response.status != 404 || !commit)) refuse(response, revision);
    if (commit) remote.commit = lower_commit(*commit);
    return remote;
  }
  if (!commit) {
    throw HttpFailure("no X-Repo-Commit header, as if it were no hub; HF_ENDPOINT, a proxy or a firewall may be wrong",
                      false);
  }
  remote.exists = true;
  remote.commit = lower_commit(*commit);
  const auto header = response.header("x-linked-etag") ? response.header("x-linked-etag") : response.header("etag");
  const auto etag = header ? blob_name(*header) : std::nullopt;
  if (!etag)
    throw HttpFailure(concat("the ETag '", header.value_or("").substr(0, 80), "', which can't name a blob"), false);
  remote.etag = *etag;
  remote.size = parse_size(response.header("x-linked-size"));
  if (!remote.size && is_success(response.status)) remote.size = parse_size(response.header("content-length"));
  return remote;
}

RemoteListing RemoteRepo::list(const std::string& revision) const {
  const std::string api = concat(client_.settings().endpoint, "/api/models/", id_);
  HttpRequest request{.url = concat(api, "/revision/", url_quote(revision, "")), .max_body = kMaxListingBytes};
  HttpResponse response = send_with_retries(client_, request);
  if (!is_success(response.status)) refuse(response, revision);
  const auto parse = [&] {
    return parse_json(response.body, response.url, ErrorCode::network, {.bytes = kMaxListingBytes});
  };
  const auto as_text = [&](const Json& object, const char* key) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (found == object.end() || !found->is_string())
      throw HttpFailure(concat("a listing without a text '", key, "'"), false);
    return found->get<std::string>();
  };
  const Json info = parse();
  RemoteListing listing;
  listing.commit = lower_commit(as_text(info, "sha"));
  const auto add = [&](std::string name) {
    if (!is_relative_file(name)) {
      throw Error(ErrorCode::bad_file_name,
                  concat("repository '", id_, "' lists a file '", name, "'; expected a relative path without '..'"));
    }
    listing.files.push_back(std::move(name));
    if (listing.files.size() > kMaxListedFiles) {
      throw Error(ErrorCode::limit_exceeded,
                  concat("repository '", id_, "' lists more than ", kMaxListedFiles, " files"));
    }
  };
  if (const auto siblings = info.find("siblings");
      siblings != info.end() && siblings->is_array() && !siblings->empty()) {
    for (const Json& sibling : *siblings) add(as_text(sibling, "rfilename"));
    // The hub cuts the short list of very large repositories.
    if (listing.files.size() < 50'000) return listing;
    listing.files.clear();
  }
  request.url = concat(api, "/tree/", listing.commit, "?recursive=true");
  while (!request.url.empty()) {
    response = send_with_retries(client_, request);
    if (!is_success(response.status)) refuse(response, revision);
    const Json page = parse();
    if (!page.is_array()) throw HttpFailure("a tree that is no list", false);
    for (const Json& entry : page) {
      if (as_text(entry, "type") == "file") add(as_text(entry, "path"));
    }
    const std::string link = response.header("link").value_or("");  // <URL>; rel="next"
    const size_t end = link.find(">; rel=\"next\"");
    const auto next = link.starts_with('<') && end != std::string::npos && !page.empty()
                          ? resolve_redirect(response.url, link.substr(1, end - 1))
                          : std::nullopt;
    request.url = next.value_or("");
  }
  return listing;
}

std::string RemoteRepo::range(const std::string& revision, const std::string& file, uint64_t offset,
                              uint64_t count) const {
  if (count == 0) return {};
  const HttpRequest request{.url = file_url(revision, file),
                            .short_answer = false,
                            .range = concat("bytes=", offset, "-", offset + count - 1)};
  Backoff backoff(kRetryBudget, {});
  for (;;) {
    std::string bytes;
    uint64_t skip = 0;
    bool first = true;
    try {
      const HttpResponse response = client_.send(request, [&](const HttpResponse& answer, std::string_view piece) {
        if (std::exchange(first, false)) {
          if (answer.status != 206)
            skip = offset;  // the whole file comes: what lies before is dropped
          else if (parse_content_range(answer).first != offset)
            throw HttpFailure("another range than was asked for", true);
        }
        const auto dropped = static_cast<size_t>(std::min<uint64_t>(skip, piece.size()));
        skip -= dropped;
        piece.remove_prefix(dropped);
        bytes.append(piece.substr(0, count - bytes.size()));
        return bytes.size() < count;
      });
      if (response.status == 416) return {};
      if (!is_success(response.status)) refuse(response, revision);
      return bytes;
    } catch (const HttpFailure& failure) {
      backoff.wait(failure);
    }
  }
}

bool RemoteRepo::transfer(const std::string& file, const RemoteFile& remote, PartialBlob& blob,
                          const std::function<void(int64_t)>& advance, const StopFlag& stopped) const {
  Backoff backoff(kRetryBudget, stopped);
  const uint64_t expected = remote.size.value_or(UINT64_MAX);
  uint64_t farthest = blob.size();
  int short_answers = 0;
  bool resumed = false;
  const auto restart = [&] {
    advance(-static_cast<int64_t>(blob.size()));
    blob.restart();
  };
  bool complete = blob.size() == expected;
  while (!complete) {
    if (!remote.size && blob.size() > 0) restart();  // without a size nothing says where the rest ends
    const uint64_t from = blob.size();
    HttpRequest request{.url = file_url(remote.commit, file), .short_answer = false, .stopped = stopped};
    if (from > 0) request.range = concat("bytes=", from, "-");
    bool first = true;
    try {
      const HttpResponse response = client_.send(request, [&](const HttpResponse& answer, std::string_view piece) {
        if (std::exchange(first, false) && answer.status == 206) {
          const ContentRange range = parse_content_range(answer);
          if (range.first != from) throw HttpFailure("another range than was asked for", true);
          if (range.total && remote.size && range.total != remote.size)
            throw Damaged{concat(*range.total, " bytes instead of ", expected)};
        } else if (from > 0 && blob.size() == from && answer.status != 206) {
          restart();  // a server without Range sends all again
        }
        if (piece.size() > expected - blob.size()) throw Damaged{concat("more than ", expected, " bytes")};
        blob.append(piece);
        advance(static_cast<int64_t>(piece.size()));
        if (blob.size() > farthest) {
          farthest = blob.size();
          backoff.progress();
        }
        return true;
      });
      if (response.status == 416) {
        if (from == 0) throw HttpFailure("HTTP status 416", false);
        throw Damaged{concat("at most ", from, " bytes instead of ", expected)};
      }
      if (!is_success(response.status)) refuse(response, remote.commit);
      complete = !remote.size || blob.size() == expected;
      if (!complete) {
        const std::string what = concat(blob.size(), " bytes instead of ", expected);
        if (++short_answers == kMaxShortAnswers) throw Damaged{what};
        throw HttpFailure(what, true);
      }
    } catch (const HttpFailure& failure) {
      complete = blob.size() == expected;
      if (!complete) backoff.wait(failure);
    }
    resumed |= !complete && blob.size() > 0;
  }
  return resumed;
}

void RemoteRepo::fetch(const std::string& file, const RemoteFile& remote, PartialBlob& blob, ProgressBars* progress,
                       const StopFlag& stopped) const {
  const size_t bar = progress ? progress->add(file, remote.size.value_or(0), blob.size()) : 0;
  const auto advance = [&](int64_t bytes) {
    if (progress) progress->advance(bar, bytes);
  };
  bool resumed = blob.size() > 0;
  for (bool again = false;; again = true) {
    std::string what;
    try {
      resumed |= transfer(file, remote, blob, advance, stopped);
      const auto matches = blob.matches_etag();
      if (matches.value_or(true)) break;
      what = concat("their ", is_sha256(remote.etag) ? "sha256" : "hash", " is not ", remote.etag);
      if (!is_sha256(remote.etag) && (again || !resumed)) {
        // Only the hub itself surely takes git's ids for ETags; another server's may mean anything.
        warn(concat("'", file, "' from repository '", id_, "' does not have the hash that its ETag ", remote.etag,
                    " seems to be"));
        break;
      }
    } catch (const Damaged& damaged) {
      what = damaged.what;
    }
    if (again || !resumed) {
      blob.discard();
      throw Error(ErrorCode::bad_download,
                  concat("the bytes of '", file, "' from repository '", id_, "' are damaged: ", what,
                         "; nothing of them was kept, try again later, or tell the owner of the hub at ",
                         client_.settings().endpoint));
    }
    advance(-static_cast<int64_t>(blob.size()));
    blob.restart();
  }
  if (progress) progress->finish(bar);
}

}  // namespace backplane::hub
