#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace backplane {

class ProgressBars;

/// Unset: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, then the token file, unless HF_HUB_DISABLE_IMPLICIT_TOKEN (AC-82).
/// A text is the token; true demands that one is configured; false sends none.
using HubToken = std::variant<std::monostate, bool, std::string>;

/// What a call to the hub may say. Every unset member comes from the environment (AC-84) at the time of the call.
struct HubOptions {
  /// The folder that holds `models--org--name`; else HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub.
  std::optional<std::string> cache_dir;
  /// HF_ENDPOINT, https://huggingface.co
  std::optional<std::string> endpoint;
  HubToken token;
  /// Branch, tag or full commit hash.
  std::string revision = "main";
  /// Joined in front of every file name, in folders too (AC-27).
  std::string subfolder;
  bool local_files_only = false;
  bool force_download = false;
  /// "http", "https", "all", or "https://host" to the proxy's URL. Empty: http_proxy, https_proxy, no_proxy.
  std::map<std::string, std::string> proxies;
  /// The commit that an earlier look-up of the same call found (AC-44): pins every file to it.
  std::optional<std::string> commit_hash;
  /// Files fetched at the same time.
  int max_workers = 8;
};

/// The files of one model: a local folder, or a repository of the hub at one commit. The first answer of the hub fixes
/// the commit, and every later file comes from it although the branch moves. The cache has Hugging Face's own layout
/// and may be shared with Python and other processes (AC-71). Copies share their state; all members may be called from
/// several threads.
///
/// Besides the codes named below, members throw `repo_not_found`, `revision_not_found`, `gated_repo`, `network`,
/// `offline`, `bad_download` (bytes that do not have their sha256 or size), `bad_file_name` and `io`.
class ModelFiles {
 public:
  /// A folder that exists, else the id `org/name` or `name`, else the URL of a repository (`…/org/name`,
  /// `…/org/name/tree/<revision>/<subfolder>`) at the endpoint. Asks nobody yet. Throws `not_found` for what looks like
  /// a path, `invalid_repo_id` for a malformed id.
  explicit ModelFiles(std::string name_or_path, HubOptions options = {});

  /// The path of `file` on disk, fetched first where the cache lacks it; nullopt where the repository does not have it
  /// (remembered as a `.no_exist` marker). Asks the hub once for the first file, and for none that the commit's
  /// snapshot has. A hub that does not answer leaves what the cache knows (AC-74), else `network`.
  std::optional<std::string> find(const std::string& file);

  /// As find, for a file that the model can do without: nullopt also where offline mode, a lost connection or a gate
  /// keep the hub from saying whether it exists (AC-77).
  std::optional<std::string> find_optional(const std::string& file);

  /// As find; `file_not_found` where it does not exist.
  std::string get(const std::string& file);

  /// Several at once, fetched in parallel, paths in the order of `files`. Throws as get, after all workers ended.
  std::vector<std::string> get(const std::vector<std::string>& files, ProgressBars* progress = nullptr);

  /// Names of all files (beneath the subfolder, and relative to it), sorted. Offline: those of the snapshot.
  std::vector<std::string> list();

  /// Up to `count` bytes of `file` from `offset`, without fetching the rest: from disk where it is there, else by a
  /// Range request. Fewer at the file's end. Throws `file_not_found`.
  std::string read_range(const std::string& file, uint64_t offset, uint64_t count);

  /// Size in bytes, by one HEAD where the file is not on disk. Throws `file_not_found`.
  uint64_t size(const std::string& file);

  /// The argument as it was given.
  const std::string& name_or_path() const;
  bool is_local() const;
  /// 40 digits; nullopt for a folder and before the first answer (AC-21).
  std::optional<std::string> commit_hash() const;
  /// The folder of the snapshot, or the local folder; empty while the commit is unknown.
  std::string folder() const;

 private:
  struct State;
  friend struct Snapshot download(const std::string&, const std::vector<std::string>&, const HubOptions&,
                                  ProgressBars*);
  std::shared_ptr<State> state_;
};

/// One file of a model; the path on disk, or nullopt where the repository or folder does not have it. As
/// ModelFiles::find.
std::optional<std::string> cached_file(const std::string& name_or_path, const std::string& file,
                                       const HubOptions& options = {});

struct Snapshot {
  std::string path;
  /// Empty for a local folder.
  std::string commit;
  std::vector<std::string> files;
};

/// Brings `files`, or where it is empty every file of the repository, into the cache. The branch's entry in `refs`
/// moves to the new commit when all of them are there. Throws as ModelFiles; `file_not_found` for a file that does not
/// exist.
Snapshot download(const std::string& name_or_path, const std::vector<std::string>& files, const HubOptions& options,
                  ProgressBars* progress = nullptr);

/// Fetches an http(s) URL: a file of the endpoint (`…/resolve/<revision>/<file>`, `…/blob/…`) through the cache, any
/// other into a new temporary file that the caller owns (AC-03). Throws `file_not_found`, `network`.
std::string download_url(const std::string& url, const HubOptions& options = {});

/// What holds where neither the call nor the environment says anything: `cache` and `endpoint` of backplane.yaml. Set
/// at start, before other threads use the hub.
struct HubDefaults {
  std::optional<std::string> cache_dir, endpoint;
};
void set_hub_defaults(HubDefaults defaults);

/// True for "http://" and "https://".
bool is_url(const std::string& text);

/// `name` or `org/name` as the hub allows them (AC-78).
bool is_repo_id(const std::string& text);

/// The cache folder on disk: what it holds, whether the bytes are right, and how to get rid of them. Reads only, but
/// for remove. Not found folders are empty caches.
class HubCache {
 public:
  /// Unset: the environment's folder, as in HubOptions.
  explicit HubCache(std::optional<std::string> cache_dir = {});

  struct Revision {
    std::string commit;
    std::vector<std::string> refs;
    std::vector<std::string> files;
  };
  struct Repo {
    std::string id;
    std::string path;
    uint64_t size = 0;
    /// Bytes in `blobs/*.incomplete`.
    uint64_t partial_size = 0;
    std::vector<Revision> revisions;
  };
  enum class Verdict { ok, damaged, missing, unknown };
  struct BlobCheck {
    std::string repo;
    /// The snapshot's file where one is known, else the blob's name.
    std::string file;
    std::string path;
    /// `missing`: a link of a snapshot whose blob is gone; `unknown`: the blob's name is no hash.
    Verdict verdict = Verdict::unknown;
  };

  const std::string& folder() const { return folder_; }
  std::vector<Repo> list() const;
  /// Reads every blob (of one repository, or of all) and compares it with the hash that is its name: sha256 for 64
  /// digits, a git blob's sha1 for 40. Throws `not_found` for a repository that is not in the cache.
  std::vector<BlobCheck> verify(const std::optional<std::string>& repo = {}) const;
  /// Deletes the repository's folder and returns the bytes freed. Throws `not_found`; `io` while another process
  /// downloads into it.
  uint64_t remove(const std::string& repo) const;

 private:
  std::string folder_;
};

std::string_view to_string(HubCache::Verdict verdict);

}  // namespace backplane
