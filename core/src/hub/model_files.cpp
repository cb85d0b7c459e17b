#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/filesystem.hpp>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/limits.h"
#include "backplane/base/strings.h"
#include "backplane/hub/hub.h"
#include "hub/cache_layout.h"
#include "hub/environment.h"
#include "hub/remote.h"

namespace backplane {

using namespace hub;

namespace {

std::string strip_slashes(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

// "", "a/b": empty and "." components mean nothing, as when a shell joins paths.
std::string normal_subfolder(const std::string& subfolder) {
  std::vector<std::string> parts;
  for (auto& part : split(subfolder, '/')) {
    if (!part.empty() && part != ".") parts.push_back(std::move(part));
  }
  return join(parts, "/");
}

std::string unquote(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t at) {
      return at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at]))
                 ? std::stoi(std::string(1, text[at]), nullptr, 16)
                 : -1;
    };
    if (text[i] == '%' && digit(i + 1) >= 0 && digit(i + 2) >= 0) {
      result += static_cast<char>(digit(i + 1) * 16 + digit(i + 2));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

struct HubUrl {
  std::string repo, kind, revision, path;
};

// <endpoint>/[org/]name[/kind/revision[/path]]; nullopt for what is not the endpoint's.
std::optional<HubUrl> parse_hub_url(const std::string& text, const std::string& endpoint) {
  const auto url = parse_url(text), own = parse_url(endpoint);
  if (!url || !own || url->host != own->host || url->port != own->port) return std::nullopt;
  const std::string prefix = strip_slashes(own->path) + "/";
  if (!url->path.starts_with(prefix)) return std::nullopt;
  std::vector<std::string> parts;
  for (const auto& part : split(strip_slashes(url->path.substr(prefix.size())), '/')) parts.push_back(unquote(part));
  const std::set<std::string> kinds = {"resolve", "blob", "raw", "tree"};
  HubUrl result;
  size_t at = parts.size() > 1 && !kinds.count(parts[1]) ? 2 : 1;
  result.repo = join({parts.begin(), parts.begin() + static_cast<long>(at)}, "/");
  if (at == parts.size()) return result;
  if (!kinds.count(parts[at]) || at + 1 == parts.size()) return std::nullopt;
  result.kind = parts[at++];
  // refs/pr/1 is one revision of three parts
  const size_t length = parts[at] == "refs" && at + 3 <= parts.size() ? 3 : 1;
  result.revision = join({parts.begin() + static_cast<long>(at), parts.begin() + static_cast<long>(at + length)}, "/");
  result.path = join({parts.begin() + static_cast<long>(at + length), parts.end()}, "/");
  return result;
}

HttpSettings http_settings(const HubOptions& options) {
  return {.endpoint = options.endpoint ? strip_slashes(*options.endpoint) : default_endpoint(),
          .token = resolve_token(options.token),
          .proxies = options.proxies,
          .etag_timeout = etag_timeout(),
          .download_timeout = download_timeout()};
}

}  // namespace

struct ModelFiles::State {
  std::string name_or_path;
  HubOptions options;
  std::string subfolder;
  /// Not empty: the files are here, and the hub has no part in it.
  std::string local_folder;

  std::string repo;
  std::unique_ptr<HttpClient> client;
  std::optional<RepoLayout> layout;
  bool offline = false;
  /// download() moves the branch only when all files are there.
  bool moves_ref = true;

  std::mutex mutex;
  std::optional<std::string> commit;
  /// The commit is what the hub says of options.revision in this call.
  bool commit_is_revision = false;
  bool answered = false;
  std::optional<std::string> unreachable;
  std::map<std::string, RemoteFile> known;
  std::set<std::string> forced;

  State(std::string name, HubOptions given);
  std::string full_name(const std::string& file) const;
  RemoteRepo remote() const { return RemoteRepo(*client, repo); }

  std::optional<std::string> pinned() {
    std::lock_guard lock(mutex);
    return commit;
  }
  bool pin(const std::string& found, bool from_hub);
  std::optional<std::string> cached(const std::optional<std::string>& at, const std::string& file) const;
  std::optional<std::string> cached_commit();
  void settle();

  std::optional<std::string> find(const std::string& file, ProgressBars* progress = nullptr,
                                  const StopFlag& stopped = {});
  std::optional<std::string> find_in_repo(const std::string& file, ProgressBars* progress, const StopFlag& stopped);
  std::optional<RemoteFile> ask(const std::string& file, const StopFlag& stopped);
  std::string get(const std::string& file, ProgressBars* progress = nullptr, const StopFlag& stopped = {});
  std::vector<std::string> list();

  [[noreturn]] void fail_offline(const std::string& file) const;
  [[noreturn]] void fail_network(const std::string& file, const std::string& reason) const;
  [[noreturn]] void fail_absent(const std::string& file) const;
  std::string remember_unreachable(const HttpFailure& failure);
  std::string why_unreachable() {
    std::lock_guard lock(mutex);
    return unreachable.value_or("");
  }
};

ModelFiles::State::State(std::string name, HubOptions given)
    : name_or_path(std::move(name)), options(std::move(given)) {
  subfolder = normal_subfolder(options.subfolder);
  const std::string endpoint = options.endpoint ? strip_slashes(*options.endpoint) : default_endpoint();
  if (folder_exists(name_or_path)) {
    local_folder = name_or_path;
    return;
  }
  repo = name_or_path;
  if (is_url(name_or_path)) {
    const auto url = parse_hub_url(name_or_path, endpoint);
    if (!url || !is_repo_id(url->repo) || (!url->kind.empty() && url->kind != "tree")) {
      throw Error(ErrorCode::invalid_repo_id,
                  concat("'", name_or_path, "' is no repository of the hub at ", endpoint, "; expected ", endpoint,
                         "/org/name or …/org/name/tree/<revision>"));
    }
    repo = url->repo;
    if (!url->revision.empty()) options.revision = url->revision;
    if (!url->path.empty()) subfolder = normal_subfolder(url->path + "/" + subfolder);
  }
  if (!is_repo_id(repo)) {
    const bool path_like = repo.empty() || repo.starts_with('/') || repo.starts_with('.') || repo.starts_with('~') ||
                           repo.ends_with('/') || repo.find('\\') != std::string::npos ||
                           std::count(repo.begin(), repo.end(), '/') > 1 || exists(repo);
    if (path_like) {
      throw Error(ErrorCode::not_found,
                  concat("'", name_or_path, "' is neither a folder nor the id of a repository ('name' or 'org/name')"));
    }
    throw Error(ErrorCode::invalid_repo_id,
                concat("'", name_or_path,
                       "' is no folder, and no repository id: expected 'name' or 'org/name' of letters, digits, '-', "
                       "'_' and '.', without "
                       "'--' or '..', no '-' or '.' at either end, no '.git', and at most 96 characters"));
  }
  if (!is_relative_file(options.revision)) {
    throw Error(ErrorCode::revision_not_found, concat("'", options.revision, "' is no revision of '", repo,
                                                      "'; expected a branch, a tag or a full commit hash"));
  }
  offline = options.local_files_only || offline_by_environment();
  layout.emplace(strip_slashes(options.cache_dir ? *options.cache_dir : default_cache_dir()), repo);
  client = std::make_unique<HttpClient>(http_settings(options));
  if (options.commit_hash) {
    if (!is_commit_hash(*options.commit_hash)) {
      throw Error(ErrorCode::revision_not_found,
                  concat("commit_hash '", *options.commit_hash, "' of '", repo, "' has no 40 hexadecimal digits"));
    }
    commit = options.commit_hash;
  } else if (is_commit_hash(options.revision)) {
    commit = options.revision;
  }
}

std::string ModelFiles::State::full_name(const std::string& file) const {
  std::string full = subfolder.empty() ? file : concat(subfolder, "/", file);
  if (!is_relative_file(full)) {
    throw Error(ErrorCode::bad_file_name, concat("'", full, "' is no file name within '", name_or_path,
                                                 "'; expected plain names separated by '/'"));
  }
  return full;
}

// false: another thread of this call learnt another commit first, and that one counts.
bool ModelFiles::State::pin(const std::string& found, bool from_hub) {
  std::lock_guard lock(mutex);
  if (from_hub) answered = true;
  if (commit) return *commit == found;
  commit = found;
  commit_is_revision = from_hub;
  return true;
}

std::optional<std::string> ModelFiles::State::cached(const std::optional<std::string>& at,
                                                     const std::string& file) const {
  if (!at) return std::nullopt;
  std::string path = layout->pointer(*at, file);
  if (!file_exists(path)) return std::nullopt;
  return path;
}

std::optional<std::string> ModelFiles::State::cached_commit() {
  if (auto at = pinned()) return at;
  return layout->read_ref(options.revision);
}

void ModelFiles::State::settle() {
  std::lock_guard lock(mutex);
  if (moves_ref && commit_is_revision) layout->write_ref(options.revision, *commit);
}

void ModelFiles::State::fail_offline(const std::string& file) const {
  throw Error(ErrorCode::offline,
              concat("'", file, "' of '", repo, "' (revision '", options.revision, "') is not in the cache '",
                     layout->cache_dir(), "', and ",
                     options.local_files_only ? "local_files_only" : "offline mode (HF_HUB_OFFLINE)",
                     " forbids to ask the hub; fetch it once with `backplane download ", repo, "` while online"));
}

void ModelFiles::State::fail_network(const std::string& file, const std::string& reason) const {
  throw Error(ErrorCode::network,
              concat("the hub at ", client->settings().endpoint, " gave no usable answer for '", file, "' of '", repo,
                     "' (revision '", options.revision, "'): ", reason, "; it is not in the cache '",
                     layout->cache_dir(), "' either, so check the connection, the proxy and HF_ENDPOINT"));
}

void ModelFiles::State::fail_absent(const std::string& file) const {
  if (!local_folder.empty()) {
    throw Error(ErrorCode::file_not_found, concat("the folder '", local_folder, "' has no file '", file, "'"));
  }
  throw Error(ErrorCode::file_not_found,
              concat("repository '", repo, "' (revision '", options.revision, "') has no file '", file, "'; see ",
                     client->settings().endpoint, "/", repo, "/tree/", options.revision, " for those it has"));
}

std::string ModelFiles::State::remember_unreachable(const HttpFailure& failure) {
  std::lock_guard lock(mutex);
  unreachable = failure.what();
  return *unreachable;
}

// What the hub says of the file at the pinned commit, else at the revision; nullopt where it does not answer and the
// cache has to.
std::optional<RemoteFile> ModelFiles::State::ask(const std::string& file, const StopFlag& stopped) {
  for (;;) {
    const auto at = pinned();
    {
      std::lock_guard lock(mutex);
      if (const auto found = known.find(file); found != known.end()) return found->second;
      if (unreachable) return std::nullopt;
    }
    RemoteFile answer;
    const bool have = cached(cached_commit(), file).has_value();
    try {
      answer = remote().head(at.value_or(options.revision), file,
                             have && !options.force_download ? kCachedRetryBudget : kRetryBudget, stopped);
    } catch (const HttpFailure& failure) {
      if (stopped && stopped()) throw Error(ErrorCode::network, "stopped");
      const std::string reason = remember_unreachable(failure);
      if (!failure.fall_back) fail_network(file, reason);
      return std::nullopt;
    } catch (const Error& error) {
      // A closed repository whose files were fetched earlier stays usable (AC-74).
      if (error.code() == ErrorCode::revision_not_found || !have || options.force_download) throw;
      std::lock_guard lock(mutex);
      unreachable = error.what();
      return std::nullopt;
    }
    if (answer.commit.empty()) {
      if (at) answer.commit = *at;
    } else if (!pin(answer.commit, true)) {
      if (at) {
        fail_network(file, concat("it answered with commit ", answer.commit, " where ", *at, " was asked for"));
      }
      continue;
    }
    std::lock_guard lock(mutex);
    known[file] = answer;
    return answer;
  }
}

std::optional<std::string> ModelFiles::State::find_in_repo(const std::string& file, ProgressBars* progress,
                                                           const StopFlag& stopped) {
  bool force = options.force_download;
  if (force) {
    std::lock_guard lock(mutex);
    force = !forced.count(file);
  }
  const auto at = pinned();
  if (!force) {
    if (auto path = cached(at, file)) return path;
    if (at && layout->known_absent(*at, file)) return std::nullopt;
  } else if (offline) {
    throw Error(
        ErrorCode::offline,
        concat("force_download of '", file, "' from '", repo, "' needs the hub, and ",
               options.local_files_only ? "local_files_only" : "offline mode (HF_HUB_OFFLINE)", " forbids to ask it"));
  }
  const auto from_cache = [&]() -> std::optional<std::string> {
    const auto known_commit = cached_commit();
    if (!known_commit) return std::nullopt;
    pin(*known_commit, false);
    return cached(known_commit, file);
  };
  const auto absent_in_cache = [&] {
    const auto now = pinned();
    return now && layout->known_absent(*now, file);
  };
  if (offline) {
    if (auto path = from_cache()) return path;
    if (absent_in_cache()) return std::nullopt;
    fail_offline(file);
  }
  const auto answer = ask(file, stopped);
  if (!answer) {
    if (!force) {
      if (auto path = from_cache()) return path;
      if (absent_in_cache()) return std::nullopt;
    }
    fail_network(file, why_unreachable());
  }
  if (!answer->exists) {
    if (!answer->commit.empty()) {
      layout->mark_absent(answer->commit, file);
      if (!layout->read_ref(options.revision)) settle();
    }
    return std::nullopt;
  }
  std::string path = layout->pointer(answer->commit, file);
  if (force || !file_exists(path)) {
    const std::string blob = layout->blob(answer->etag);
    const FileLock lock = FileLock::acquire(layout->lock(answer->etag), stopped);
    if (force || !file_exists(blob)) {
      PartialBlob partial(*layout, answer->etag, answer->size.value_or(UINT64_MAX));
      if (force) partial.restart();
      const uint64_t missing = answer->size.value_or(0) - std::min(answer->size.value_or(0), partial.size());
      const std::string folder = layout->folder() + "/blobs";
      if (missing > free_bytes(folder)) {
        throw Error(ErrorCode::io, concat("'", file, "' of '", repo, "' needs ", format_bytes(double(missing)),
                                          " more, but the disk is full: ", disk_report(folder)));
      }
      try {
        remote().fetch(file, *answer, partial, progress, stopped);
      } catch (const HttpFailure& failure) {
        throw Error(ErrorCode::network,
                    concat("the hub at ", client->settings().endpoint, " did not send '", file, "' of '", repo,
                           "' (revision '", options.revision, "') in full: ", failure.what(), "; ", partial.size(),
                           " bytes are kept in '", partial.path(), "', and the next try goes on from there"));
      }
      partial.commit();
    }
    layout->link(answer->commit, file, answer->etag);
  }
  if (force) {
    std::lock_guard state_lock(mutex);
    forced.insert(file);
  }
  settle();
  return path;
}

std::optional<std::string> ModelFiles::State::find(const std::string& file, ProgressBars* progress,
                                                   const StopFlag& stopped) {
  const std::string full = full_name(file);
  if (local_folder.empty()) return find_in_repo(full, progress, stopped);
  std::string path = path_beneath(local_folder, full);
  if (!file_exists(path)) return std::nullopt;
  return path;
}

std::string ModelFiles::State::get(const std::string& file, ProgressBars* progress, const StopFlag& stopped) {
  auto path = find(file, progress, stopped);
  if (!path) fail_absent(full_name(file));
  return std::move(*path);
}

std::vector<std::string> ModelFiles::State::list() {
  std::vector<std::string> all;
  if (!local_folder.empty()) {
    all = files_beneath(local_folder);
  } else if (offline) {
    const auto at = cached_commit();
    if (!at || !folder_exists(layout->snapshot(*at))) fail_offline("the list of files");
    pin(*at, false);
    all = files_beneath(layout->snapshot(*at));
  } else {
    try {
      for (;;) {
        RemoteListing listing = remote().list(pinned().value_or(options.revision));
        all = std::move(listing.files);
        if (pin(listing.commit, true)) break;
        if (is_commit_hash(options.revision))
          fail_network("the list of files", concat("it answered with commit ", listing.commit));
      }
    } catch (const HttpFailure& failure) {
      fail_network("the list of files", remember_unreachable(failure));
    }
  }
  std::vector<std::string> files;
  const std::string prefix = subfolder.empty() ? "" : subfolder + "/";
  for (auto& file : all) {
    if (file.starts_with(prefix)) files.push_back(file.substr(prefix.size()));
  }
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

ModelFiles::ModelFiles(std::string name_or_path, HubOptions options)
    : state_(std::make_shared<State>(std::move(name_or_path), std::move(options))) {}

const std::string& ModelFiles::name_or_path() const { return state_->name_or_path; }
bool ModelFiles::is_local() const { return !state_->local_folder.empty(); }
std::optional<std::string> ModelFiles::commit_hash() const { return state_->pinned(); }

std::string ModelFiles::folder() const {
  if (is_local()) return state_->local_folder;
  const auto commit = commit_hash();
  return commit ? state_->layout->snapshot(*commit) : std::string();
}

std::optional<std::string> ModelFiles::find(const std::string& file) { return state_->find(file); }

std::optional<std::string> ModelFiles::find_optional(const std::string& file) {
  try {
    return state_->find(file);
  } catch (const Error& error) {
    const bool unknowable = error.code() == ErrorCode::offline || error.code() == ErrorCode::gated_repo ||
                            (error.code() == ErrorCode::network && !state_->answered);
    if (!unknowable) throw;
    return std::nullopt;
  }
}

std::string ModelFiles::get(const std::string& file) { return state_->get(file); }

std::vector<std::string> ModelFiles::get(const std::vector<std::string>& files, ProgressBars* progress) {
  std::vector<std::string> paths(files.size());
  if (progress) progress->expect(files.size());
  std::atomic<size_t> next = 0;
  std::atomic<bool> failed = false;
  std::exception_ptr first_error;
  std::mutex error_mutex;
  const StopFlag stopped = [&failed] { return failed.load(); };
  const auto fetch_one = [&](size_t i) {
    try {
      paths[i] = state_->get(files[i], progress, stopped);
    } catch (...) {
      std::lock_guard lock(error_mutex);
      if (!first_error) first_error = std::current_exception();
      failed = true;
    }
  };
  const auto work = [&] {
    for (size_t i; !failed && (i = next++) < files.size();) fetch_one(i);
  };
  // The first file alone learns the commit that all others take.
  if (!files.empty() && !state_->pinned()) fetch_one(next++);
  std::vector<std::thread> workers;
  const size_t count = std::min<size_t>(static_cast<size_t>(std::max(1, state_->options.max_workers)),
                                        files.size() - std::min(files.size(), next.load()));
  for (size_t i = 1; i < count; ++i) workers.emplace_back(work);
  work();
  for (auto& worker : workers) worker.join();
  if (first_error) std::rethrow_exception(first_error);
  return paths;
}

std::vector<std::string> ModelFiles::list() { return state_->list(); }

std::string ModelFiles::read_range(const std::string& file, uint64_t offset, uint64_t count) {
  if (count > limits::kSafetensorsHeaderBytes) {
    throw Error(ErrorCode::limit_exceeded,
                concat(count, " bytes of '", file, "' asked for at once; at most ", limits::kSafetensorsHeaderBytes));
  }
  State& state = *state_;
  const std::string full = state.full_name(file);
  std::optional<std::string> path;
  if (is_local() || state.offline || state.cached(state.pinned(), full)) {
    path = state.get(file);
  } else {
    const auto answer = state.ask(full, {});
    path = state.cached(state.cached_commit(), full);
    if (!answer && !path) state.fail_network(full, state.why_unreachable());
    if (answer && !answer->exists) state.fail_absent(full);
  }
  if (!path) {
    try {
      return state.remote().range(*state.pinned(), full, offset, count);
    } catch (const HttpFailure& failure) {
      state.fail_network(full, failure.what());
    }
  }
  const Descriptor fd(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::string bytes(count, '\0');
  size_t done = 0;
  ssize_t got = fd < 0 ? -1 : 1;
  while (got > 0 && done < count) {
    got = ::pread(fd, bytes.data() + done, count - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR)
      got = 1;
    else if (got > 0)
      done += static_cast<size_t>(got);
  }
  if (got < 0) throw Error(ErrorCode::io, concat("cannot read '", *path, "': ", std::strerror(errno)));
  bytes.resize(done);
  return bytes;
}

uint64_t ModelFiles::size(const std::string& file) {
  State& state = *state_;
  const std::string full = state.full_name(file);
  std::optional<std::string> path;
  if (is_local() || state.offline || state.cached(state.pinned(), full)) {
    path = state.get(file);
  } else {
    const auto answer = state.ask(full, {});
    if (answer && !answer->exists) state.fail_absent(full);
    if (answer && answer->size) return *answer->size;
    path = state.get(file);
  }
  boost::system::error_code error;
  const uint64_t size = boost::filesystem::file_size(*path, error);
  if (error) throw Error(ErrorCode::io, concat("cannot stat '", *path, "': ", error.message()));
  return size;
}

std::optional<std::string> cached_file(const std::string& name_or_path, const std::string& file,
                                       const HubOptions& options) {
  return ModelFiles(name_or_path, options).find(file);
}

Snapshot download(const std::string& name_or_path, const std::vector<std::string>& files, const HubOptions& options,
                  ProgressBars* progress) {
  ModelFiles model(name_or_path, options);
  ModelFiles::State& state = *model.state_;
  state.moves_ref = false;
  const auto names = files.empty() ? model.list() : files;
  model.get(names, progress);
  Snapshot snapshot{.path = model.folder(), .commit = model.commit_hash().value_or(""), .files = {}};
  for (const auto& name : names) snapshot.files.push_back(state.full_name(name));
  if (!model.is_local()) {
    state.moves_ref = true;
    state.settle();
    if (!state.offline && names.empty()) make_folders(snapshot.path);
  }
  return snapshot;
}

std::string download_url(const std::string& url, const HubOptions& options) {
  const HttpSettings settings = http_settings(options);
  if (const auto file = parse_hub_url(url, settings.endpoint);
      file && is_repo_id(file->repo) && !file->path.empty() && file->kind != "tree") {
    HubOptions own = options;
    own.revision = file->revision;
    own.subfolder.clear();
    return ModelFiles(file->repo, own).get(file->path);
  }
  if (!is_url(url)) throw Error(ErrorCode::invalid_value, concat("'", url, "' is no http or https address"));
  if (options.local_files_only || offline_by_environment()) {
    throw Error(ErrorCode::offline,
                concat("'", url, "' can't be fetched in offline mode (HF_HUB_OFFLINE, local_files_only)"));
  }
  std::string path = environment("TMPDIR").value_or("/tmp") + "/backplane-XXXXXX";
  const Descriptor fd(::mkostemp(path.data(), O_CLOEXEC));
  if (fd < 0) throw Error(ErrorCode::io, concat("cannot create '", path, "': ", std::strerror(errno)));
  try {
    HttpClient client(settings);
    Backoff backoff(kRetryBudget, {});
    for (;;) {
      try {
        if (::ftruncate(fd, 0) != 0 || ::lseek(fd, 0, SEEK_SET) != 0)
          throw Error(ErrorCode::io, concat("cannot truncate '", path, "'"));
        const HttpResponse response =
            client.send({.url = url, .short_answer = false}, [&](const HttpResponse&, std::string_view bytes) {
              while (!bytes.empty()) {
                const ssize_t count = ::write(fd, bytes.data(), bytes.size());
                if (count < 0) throw Error(ErrorCode::io, concat("cannot write '", path, "': ", std::strerror(errno)));
                bytes.remove_prefix(static_cast<size_t>(count));
              }
              return true;
            });
        if (response.status >= 400)
          throw Error(ErrorCode::file_not_found, concat("'", url, "' answers with HTTP status ", response.status));
        return path;
      } catch (const HttpFailure& failure) {
        backoff.wait(failure);
      }
    }
  } catch (const HttpFailure& failure) {
    ::unlink(path.c_str());
    throw Error(ErrorCode::network, concat("'", url, "' gave no usable answer: ", failure.what()));
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
}

bool is_url(const std::string& text) { return text.starts_with("http://") || text.starts_with("https://"); }

bool is_repo_id(const std::string& text) {
  const auto parts = split(text, '/');
  if (parts.size() > 2 || parts.back().size() > 96 || text.size() > 200) return false;
  if (text.find("--") != std::string::npos || text.find("..") != std::string::npos || text.ends_with(".git"))
    return false;
  return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
    return !part.empty() && is_word(part.front()) && is_word(part.back()) &&
           std::all_of(part.begin(), part.end(), [&](char c) { return is_word(c) || c == '-' || c == '.'; });
  });
}

}  // namespace backplane
