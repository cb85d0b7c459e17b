#pragma once

#include <string>
#include <vector>

namespace backplane {

/// Says something that the caller should know and that is no error. Goes to stderr as "warning: …", or to the innermost
/// WarningCollector of this thread. Thread-safe.
void warn(const std::string& message);

/// Takes the warnings of the current thread while it lives. Collectors nest; only the innermost receives.
class WarningCollector {
 public:
  WarningCollector();
  ~WarningCollector();
  WarningCollector(const WarningCollector&) = delete;
  WarningCollector& operator=(const WarningCollector&) = delete;

  const std::vector<std::string>& messages() const { return messages_; }

 private:
  friend void warn(const std::string&);
  WarningCollector* outer_;
  std::vector<std::string> messages_;
};

}  // namespace backplane
