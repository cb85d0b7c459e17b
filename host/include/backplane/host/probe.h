#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "backplane/registry/manifest.h"

namespace backplane {

/// What the child does with the plugin.
enum class ProbeMode {
  once,          // registers
  twice,         // registers twice the same
  strange_host,  // calls the entry as a host of another ABI first
  configs,       // makes its configurations, and reads back what they write
};

struct ProbeLimits {
  std::chrono::milliseconds wall = std::chrono::seconds(120);  // a busy machine opens libtorch slowly
  uint64_t memory_bytes = 8ull << 30;
  ProbeMode mode = ProbeMode::once;
};

/// Opens a plugin in a child process and lets it register, with its output discarded and limits on
/// time and memory. Returns why it must not be opened here, empty where nothing speaks against it: it crashed, exited,
/// took too long or too much memory, failed, or registers something else than its manifest says. `backplane-manifest`
/// is the child; throws `missing_dependency` where it is not installed.
std::string probe_plugin(const std::string& path, const Manifest& manifest, const ProbeLimits& limits = {});

/// The child's side: applies the limits to this process, opens the plugin and returns what it registers.
Manifest probe_here(const std::string& path, const ProbeLimits& limits);

/// The verdicts on the plugins of this user, so that each version of a library is probed once. Kept in
/// `<user cache folder>/plugin-verdicts.json`, written atomically; a damaged file is an empty one. Any process, any
/// thread.
class Verdicts {
 public:
  struct Verdict {
    std::string path;
    std::string reason;   // empty: nothing speaks against it
    int64_t expires = 0;  // seconds since 1970; a bad verdict is forgotten then
  };

  /// `folder` empty: nothing is kept.
  explicit Verdicts(std::string folder) : folder_(std::move(folder)) {}

  /// The verdict on the library as it is now; none where it has changed since or the verdict has expired.
  std::optional<Verdict> find(const std::string& path) const;
  void put(const std::string& path, const std::string& reason);
  /// Forgets the verdict on a library, or all with "". Returns how many there were.
  size_t clear(const std::string& path);
  /// The bad ones that count.
  std::vector<Verdict> quarantined() const;

 private:
  std::string folder_;
};

}  // namespace backplane
