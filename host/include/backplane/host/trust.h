#pragma once

#include <set>
#include <string>
#include <string_view>

#include "backplane/host/settings.h"

namespace backplane {

/// Which code may run in this process. Made of the settings and of what the caller says, never of a model's files: there is
/// no way to it from JSON. Travels by value into every nested load; can only be tightened. Immutable, any thread.
class TrustPolicy {
 public:
  /// Refuses everything that is not built in.
  TrustPolicy() = default;
  /// Reads the lock file where the level is `locked`. Throws `bad_settings`.
  explicit TrustPolicy(const Settings& settings);

  TrustPolicy tightened(TrustLevel level) const;
  TrustLevel level() const { return level_; }

  /// Why a library that is not built in must not be opened, empty where it may; by what can be known without reading it.
  std::string refusal(const std::string& path) const;
  /// The same of its content; `sha256` in lower-case hex.
  std::string refusal_of_content(std::string_view sha256) const;
  bool needs_content() const { return level_ == TrustLevel::locked; }

 private:
  TrustLevel level_ = TrustLevel::deny;
  std::string lock_file_;
  std::set<std::string, std::less<>> locked_;  // sha256
};

}  // namespace backplane
