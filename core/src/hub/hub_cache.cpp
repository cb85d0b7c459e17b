#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cerrno>
#include <cstring>
#include <map>

#include "backplane/base/digest.h"
#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/hub/hub.h"
#include "hub/cache_layout.h"
#include "hub/environment.h"

namespace backplane {

using namespace hub;
namespace fs = boost::filesystem;

namespace {

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  boost::system::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t size_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? static_cast<uint64_t>(info.st_size) : 0;
}

// 64 digits are a sha256, 40 the id that git gives a blob; some mirrors take the plain sha1 instead.
HubCache::Verdict check_blob(const std::string& path, const std::string& name) {
  const bool lfs = is_sha256(name);
  if (!lfs && !is_commit_hash(name)) return HubCache::Verdict::unknown;
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) throw Error(ErrorCode::io, concat("cannot open '", path, "': ", std::strerror(errno)));
  Digest digest(lfs ? Digest::Kind::sha256 : Digest::Kind::sha1), plain(Digest::Kind::sha1);
  if (!lfs) digest.update(concat("blob ", std::to_string(size_of(path)), std::string_view("\0", 1)));
  std::vector<char> buffer(1 << 20);
  ssize_t count;
  while ((count = ::read(fd, buffer.data(), buffer.size())) > 0 || (count < 0 && errno == EINTR)) {
    if (count < 0) continue;
    digest.update({buffer.data(), static_cast<size_t>(count)});
    if (!lfs) plain.update({buffer.data(), static_cast<size_t>(count)});
  }
  if (count < 0) throw Error(ErrorCode::io, concat("cannot read '", path, "': ", std::strerror(errno)));
  return digest.hex() == name || (!lfs && plain.hex() == name) ? HubCache::Verdict::ok : HubCache::Verdict::damaged;
}

void remove_tree(const std::string& folder) {
  boost::system::error_code error;
  fs::remove_all(folder, error);
  if (error) throw Error(ErrorCode::io, concat("cannot remove '", folder, "': ", error.message()));
}

}  // namespace

std::string_view to_string(HubCache::Verdict verdict) {
  switch (verdict) {
    case HubCache::Verdict::ok:
      return "ok";
    case HubCache::Verdict::damaged:
      return "damaged";
    case HubCache::Verdict::missing:
      return "missing";
    case HubCache::Verdict::unknown:
      break;
  }
  return "unknown";
}

HubCache::HubCache(std::optional<std::string> cache_dir)
    : folder_(cache_dir ? std::move(*cache_dir) : default_cache_dir()) {
  while (folder_.size() > 1 && folder_.ends_with('/')) folder_.pop_back();
}

std::vector<HubCache::Repo> HubCache::list() const {
  std::vector<Repo> repos;
  for (const auto& name : names_in(folder_)) {
    const auto id = repo_of_folder(name);
    if (!id || !folder_exists(folder_ + "/" + name)) continue;
    const RepoLayout layout(folder_, *id);
    Repo repo{.id = *id, .path = folder_ + "/" + name};
    for (const auto& blob : names_in(repo.path + "/blobs")) {
      const uint64_t size = size_of(repo.path + "/blobs/" + blob);
      (blob.ends_with(".incomplete") ? repo.partial_size : repo.size) += size;
    }
    std::map<std::string, std::vector<std::string>> refs;
    for (const auto& ref : files_beneath(repo.path + "/refs")) {
      if (const auto commit = layout.read_ref(ref)) refs[*commit].push_back(ref);
    }
    for (const auto& commit : names_in(repo.path + "/snapshots")) {
      Revision revision{.commit = commit, .refs = refs[commit], .files = files_beneath(layout.snapshot(commit))};
      for (const auto& file : revision.files) {
        // Copies, where links were not possible.
        const std::string path = layout.pointer(commit, file);
        if (!fs::is_symlink(fs::symlink_status(path))) repo.size += size_of(path);
      }
      repo.revisions.push_back(std::move(revision));
    }
    repos.push_back(std::move(repo));
  }
  return repos;
}

std::vector<HubCache::BlobCheck> HubCache::verify(const std::optional<std::string>& id) const {
  if (id && !(is_repo_id(*id) && folder_exists(RepoLayout(folder_, *id).folder()))) {
    throw Error(ErrorCode::not_found, concat("repository '", *id, "' is not in the cache '", folder_, "'"));
  }
  std::vector<BlobCheck> checks;
  for (const Repo& repo : list()) {
    if (id && repo.id != *id) continue;
    std::map<std::string, std::string> file_of;
    for (const Revision& revision : repo.revisions) {
      for (const auto& file : revision.files) {
        const std::string path = concat(repo.path, "/snapshots/", revision.commit, "/", file);
        boost::system::error_code error;
        const fs::path target = fs::read_symlink(path, error);
        if (error) {
          checks.push_back({repo.id, file, path, Verdict::unknown});
        } else if (!exists(path)) {
          checks.push_back({repo.id, file, path, Verdict::missing});
        } else {
          file_of.emplace(target.filename().string(), file);
        }
      }
    }
    for (const auto& name : names_in(repo.path + "/blobs")) {
      if (name.ends_with(".incomplete")) continue;
      const std::string path = repo.path + "/blobs/" + name;
      const auto file = file_of.find(name);
      checks.push_back({repo.id, file == file_of.end() ? name : file->second, path, check_blob(path, name)});
    }
  }
  return checks;
}

uint64_t HubCache::remove(const std::string& id) const {
  const RepoLayout layout(folder_, id);
  if (!is_repo_id(id) || !folder_exists(layout.folder())) {
    throw Error(ErrorCode::not_found, concat("repository '", id, "' is not in the cache '", folder_, "'"));
  }
  const std::string locks = layout.locks_folder();
  std::vector<FileLock> held;
  for (const auto& name : names_in(locks)) {
    auto lock = FileLock::try_acquire(locks + "/" + name);
    if (!lock)
      throw Error(ErrorCode::io, concat("repository '", id, "' is being downloaded by another process, which holds '",
                                        locks, "/", name, "'"));
    held.push_back(std::move(*lock));
  }
  uint64_t bytes = 0;
  for (const auto& file : files_beneath(layout.folder())) {
    const std::string path = layout.folder() + "/" + file;
    if (!fs::is_symlink(fs::symlink_status(path))) bytes += size_of(path);
  }
  // In this order a removal that is cut short leaves nothing that looks complete.
  for (const char* part : {"/refs", "/.no_exist", "/snapshots", "/blobs", ""}) remove_tree(layout.folder() + part);
  remove_tree(locks);
  return bytes;
}

}  // namespace backplane
