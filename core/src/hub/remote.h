#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backplane/base/progress.h"
#include "hub/cache_layout.h"
#include "hub/http.h"

namespace backplane::hub {

struct RemoteFile {
  bool exists = false;
  /// 40 digits; empty only where the file does not exist and the hub named none.
  std::string commit;
  /// A plain file name.
  std::string etag;
  std::optional<uint64_t> size;
};

struct RemoteListing {
  std::string commit;
  std::vector<std::string> files;
};

/// One repository as the hub's HTTP interface shows it. Refusals are thrown as Error (`repo_not_found`,
/// `revision_not_found`, `gated_repo`), the lack of a usable answer as HttpFailure.
class RemoteRepo {
 public:
  RemoteRepo(HttpClient& client, std::string id) : client_(client), id_(std::move(id)) {}

  RemoteFile head(const std::string& revision, const std::string& file, std::chrono::milliseconds budget,
                  const StopFlag& stopped) const;
  RemoteListing list(const std::string& revision) const;
  /// Up to `count` bytes from `offset`.
  std::string range(const std::string& revision, const std::string& file, uint64_t offset, uint64_t count) const;
  /// Fills `blob` up to `remote.size`, from where it stands, and checks its sha256 where the ETag is one. A blob that
  /// was resumed and turns out wrong is fetched afresh once; then it is deleted and `bad_download` thrown.
  void fetch(const std::string& file, const RemoteFile& remote, PartialBlob& blob, ProgressBars* progress,
             const StopFlag& stopped) const;

 private:
  std::string file_url(const std::string& revision, const std::string& file) const;
  [[noreturn]] void refuse(const HttpResponse& response, const std::string& revision) const;
  /// True where the bytes came in more than one piece.
  bool transfer(const std::string& file, const RemoteFile& remote, PartialBlob& blob,
                const std::function<void(int64_t)>& advance, const StopFlag& stopped) const;

  HttpClient& client_;
  std::string id_;
};

}  // namespace backplane::hub
