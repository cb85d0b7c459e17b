#include "backplane/base/log.h"

#include <cstdio>

namespace backplane {
namespace {
thread_local WarningCollector* innermost = nullptr;
}

void warn(const std::string& message) {
  if (innermost) {
    innermost->messages_.push_back(message);
  } else {
    std::fprintf(stderr, "warning: %s\n", message.c_str());
  }
}

WarningCollector::WarningCollector() : outer_(innermost) { innermost = this; }
WarningCollector::~WarningCollector() { innermost = outer_; }

}  // namespace backplane
