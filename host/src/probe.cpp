#include "backplane/host/probe.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/filesystem.hpp>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/library.h"
#include "backplane/registry/registry.h"
#include "file_state.h"

extern char** environ;

namespace backplane {
namespace {

namespace fs = boost::filesystem;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxAnswer = 1 << 20;
constexpr int64_t kQuarantineSeconds = 7 * 24 * 3600;
constexpr rlim_t kCpuSeconds = 20;

std::string probe_program() {
  Dl_info library{};
  if (::dladdr(reinterpret_cast<const void*>(&probe_program), &library) != 0) {
    boost::system::error_code ignored;
    const fs::path folder = fs::canonical(library.dli_fname, ignored).parent_path();
    for (const char* up : {"..", "../.."}) {
      const fs::path program = (folder / up / "bin" / "backplane-manifest").lexically_normal();
      if (fs::exists(program, ignored)) return program.string();
    }
  }
  throw Error(ErrorCode::missing_dependency, "backplane-manifest is not installed beside this host");
}

struct Ended {
  std::string output;
  int status = 0;
  bool timed_out = false;
};

// Runs a program in a process group of its own, which is killed at the end whatever it has left behind.
Ended run(const std::vector<std::string>& command, std::chrono::milliseconds wall) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(ErrorCode::io, concat("cannot make a pipe: ", std::strerror(errno)));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, argv[0], &actions, &attributes, argv.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    throw Error(ErrorCode::io, concat("cannot start ", command[0], ": ", std::strerror(error)));
  }

  Ended ended;
  const auto deadline = Clock::now() + wall;
  std::array<char, 4096> buffer;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd waiting = {ends[0], POLLIN, 0};
    const int ready = left <= 0 ? 0 : ::poll(&waiting, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0 || ended.output.size() > kMaxAnswer) {
      ended.timed_out = true;
      break;
    }
    const ssize_t got = ::read(ends[0], buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    ended.output.append(buffer.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  if (ended.timed_out) ::kill(-child, SIGKILL);
  while (::waitpid(child, &ended.status, 0) < 0 && errno == EINTR) {
  }
  ::kill(-child, SIGKILL);
  return ended;
}

void limit(int resource, rlim_t value) {
  const rlimit limits = {value, value};
  ::setrlimit(static_cast<__rlimit_resource>(resource), &limits);
}

}  // namespace

std::string probe_plugin(const std::string& path, const Manifest& manifest, const ProbeLimits& limits) {
  const Ended ended = run({probe_program(), "probe", path, std::to_string(limits.memory_bytes),
                           std::to_string(static_cast<int>(limits.mode))},
                          limits.wall);
  if (ended.timed_out) return concat("did not end within ", limits.wall.count() / 1000.0, " s when it was probed");
  if (WIFSIGNALED(ended.status)) {
    const int signal = WTERMSIG(ended.status);
    return concat("crashed when it was probed: ", ::strsignal(signal), " (signal ", signal, ")");
  }
  const auto lines = split(ended.output, '\n');
  if (lines.size() < 2 || (lines[0] != "ok" && lines[0] != "failed")) {
    return concat("ended the process with status ", WEXITSTATUS(ended.status), " when it was probed");
  }
  if (lines[0] == "failed") return lines[1];
  if (!parse_manifest(lines[1], path).provides_the_same(manifest)) {
    return "registers something else than its manifest says; rebuild the plugin";
  }
  return "";
}

Manifest probe_here(const std::string& path, const ProbeLimits& limits) {
#ifndef __SANITIZE_ADDRESS__  // whose shadow memory alone is larger
  limit(RLIMIT_AS, limits.memory_bytes);
#endif
  limit(RLIMIT_CPU, kCpuSeconds);
  limit(RLIMIT_CORE, 0);
  if (limits.mode == ProbeMode::strange_host) call_entry_as_stranger(path);
  const InspectedPlugin inspected = inspect_plugin(path);
  const auto fail = [&](const auto&... why) { throw Error(ErrorCode::plugin_failed, concat(path, ": ", why...)); };
  if (limits.mode == ProbeMode::twice && !inspect_plugin(path).manifest.provides_the_same(inspected.manifest)) {
    fail("registers something else the second time");
  }
  if (limits.mode == ProbeMode::configs) {
    Registry::process();  // parts of other types come from their plugins
    for (const auto& entry : inspected.registration.configs) {
      const auto first = entry.create();
      try {
        read_config(*first, write_config(*first), entry.class_name);  // derives what depends on other keys
      } catch (const Error&) {
        continue;  // a composite has no defaults (AC-156)
      }
      const Json written = write_config(*first);
      const auto again = entry.create();
      read_config(*again, written, entry.class_name);
      const Json rewritten = write_config(*again);
      for (const auto& [key, value] : written.items()) {
        if (!rewritten.contains(key) || rewritten[key] != value)
          fail(entry.class_name, " does not read back its '", key, "'");
      }
    }
  }
  return inspected.manifest;
}

namespace {

constexpr char kFileName[] = "/plugin-verdicts.json";

Json read_verdicts(const std::string& folder) {
  if (folder.empty() || !file_exists(folder + kFileName)) return Json::object();
  try {
    Json all = read_json_file(folder + kFileName);
    if (all.is_object()) return all;
  } catch (const Error&) {  // damaged: as if there were none; the next verdict writes a new file
  }
  return Json::object();
}

template <class T>
T member(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end()) return T{};
  if constexpr (std::is_same_v<T, std::string>) {
    return found->is_string() ? found->get<std::string>() : T{};
  } else {
    return found->is_number_integer() ? found->get<T>() : T{};
  }
}

std::optional<Verdicts::Verdict> current(const std::string& path, const Json& entry) {
  const FileState now = file_state(path);
  if (now == FileState{} || member<uint64_t>(entry, "device") != now.device ||
      member<uint64_t>(entry, "inode") != now.inode || member<int64_t>(entry, "size") != now.size ||
      member<int64_t>(entry, "modified_ns") != now.modified_ns) {
    return std::nullopt;
  }
  Verdicts::Verdict verdict{path, member<std::string>(entry, "reason"), member<int64_t>(entry, "expires")};
  if (!verdict.reason.empty() && verdict.expires <= std::time(nullptr)) return std::nullopt;
  return verdict;
}

// Read, changed and written under a lock that a crashed process cannot leave behind.
template <class Change>
void change_verdicts(const std::string& folder, Change change) {
  boost::system::error_code error;
  fs::create_directories(folder, error);
  const int lock = ::open((folder + "/plugin-verdicts.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock < 0) return;  // a cache that cannot be written is no cache
  ::flock(lock, LOCK_EX);
  Json all = read_verdicts(folder);
  change(all);
  try {
    write_file(folder + kFileName, all.dump(1));
  } catch (const Error&) {
  }
  ::close(lock);
}

}  // namespace

std::optional<Verdicts::Verdict> Verdicts::find(const std::string& path) const {
  const Json all = read_verdicts(folder_);
  const auto entry = all.find(path);
  return entry == all.end() ? std::nullopt : current(path, *entry);
}

void Verdicts::put(const std::string& path, const std::string& reason) {
  if (folder_.empty()) return;
  const FileState now = file_state(path);
  change_verdicts(folder_, [&](Json& all) {
    all[path] = {{"device", now.device}, {"inode", now.inode},
                 {"size", now.size},     {"modified_ns", now.modified_ns},
                 {"reason", reason},     {"expires", std::time(nullptr) + kQuarantineSeconds}};
  });
}

size_t Verdicts::clear(const std::string& path) {
  if (folder_.empty()) return 0;
  size_t cleared = 0;
  change_verdicts(folder_, [&](Json& all) {
    if (path.empty()) {
      cleared = all.size();
      all = Json::object();
    } else {
      cleared = all.erase(path);
    }
  });
  return cleared;
}

std::vector<Verdicts::Verdict> Verdicts::quarantined() const {
  std::vector<Verdict> bad;
  const Json all = read_verdicts(folder_);
  for (const auto& [path, entry] : all.items()) {
    const auto verdict = current(path, entry);
    if (verdict && !verdict->reason.empty()) bad.push_back(*verdict);
  }
  return bad;
}

}  // namespace backplane
