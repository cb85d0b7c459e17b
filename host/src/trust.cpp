#include "backplane/host/trust.h"

#include <sys/stat.h>

#include <algorithm>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"

namespace backplane {
namespace {

bool others_may_write(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IWOTH) != 0 && (status.st_mode & S_ISVTX) == 0;
}

}  // namespace

TrustPolicy::TrustPolicy(const Settings& settings) : level_(settings.trust), lock_file_(settings.lock_file) {
  if (level_ != TrustLevel::locked || lock_file_.empty()) return;
  const Json lock = read_json_file(lock_file_, ErrorCode::bad_settings);
  const auto refuse = [&] {
    throw Error(ErrorCode::bad_settings, concat(lock_file_, ": not a lock file; 'backplane plugins lock' writes one"));
  };
  if (!lock.is_object() || !lock.contains("plugins") || !lock["plugins"].is_array()) refuse();
  for (const auto& plugin : lock["plugins"]) {
    if (!plugin.is_object() || !plugin.contains("sha256") || !plugin["sha256"].is_string()) refuse();
    locked_.insert(plugin["sha256"].get<std::string>());
  }
}

TrustPolicy TrustPolicy::tightened(TrustLevel level) const {
  TrustPolicy policy = *this;
  policy.level_ = std::min(level_, level);
  return policy;
}

std::string TrustPolicy::refusal(const std::string& path) const {
  if (level_ == TrustLevel::deny) return "not part of this installation, and the trust level is 'deny'";
  if (others_may_write(path)) return "every user of this machine can write it; chmod o-w";
  if (others_may_write(path.substr(0, path.rfind('/')))) {
    return "every user of this machine can write its folder; chmod o-w";
  }
  return "";
}

std::string TrustPolicy::refusal_of_content(std::string_view sha256) const {
  if (level_ != TrustLevel::locked || locked_.contains(sha256)) return "";
  if (lock_file_.empty()) return "the trust level is 'locked', and the settings name no lock file (trust.lock)";
  return concat("its sha256 ", sha256, " is not in ", lock_file_, "; 'backplane plugins lock' adds it");
}

}  // namespace backplane
