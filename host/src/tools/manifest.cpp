// backplane-manifest write LIBRARY [--source FOLDER] | read LIBRARY | probe LIBRARY BYTES MODE
// The last step of a plugin's build: opens the fresh library in a child process, takes down what it registers, and
// writes that into the library's note. `probe` is what a host starts before it opens a library that is not its own.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/host/library.h"
#include "backplane/host/probe.h"
#include "backplane/registry/elf_note.h"
#include "backplane/registry/manifest.h"

namespace backplane {
namespace {

struct ChildResult {
  std::string output;
  int status = 0;
};

// Runs `body` in a forked child; what it writes to its descriptor argument is the output.
template <class Body>
ChildResult in_child(Body body) {
  int ends[2];
  if (::pipe(ends) != 0) throw Error(ErrorCode::io, concat("cannot make a pipe: ", std::strerror(errno)));
  const pid_t child = ::fork();
  if (child < 0) throw Error(ErrorCode::io, concat("cannot start a process: ", std::strerror(errno)));
  if (child == 0) {
    ::close(ends[0]);
    ::_exit(body(ends[1]));
  }
  ::close(ends[1]);
  ChildResult result;
  std::array<char, 4096> buffer;
  for (ssize_t got; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    result.output.append(buffer.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  ::waitpid(child, &result.status, 0);
  return result;
}

// "<commit>" or "<commit>-dirty", empty without git.
std::string source_commit(const std::string& folder) {
  const auto described = in_child([&](int out) {
    ::dup2(out, STDOUT_FILENO);
    if (std::freopen("/dev/null", "w", stderr) == nullptr) return 1;
    ::execlp("git", "git", "-C", folder.c_str(), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", nullptr);
    return 127;
  });
  return described.status == 0 ? std::string(trim(described.output)) : "";
}

Manifest inspect_in_child(const std::string& path) {
  const auto inspected = in_child([&](int out) {
    std::string text;
    int status = 0;
    try {
      text = to_json(inspect_plugin(path).manifest);
    } catch (const std::exception& error) {
      text = error.what();
      status = 1;
    }
    return ::write(out, text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? status : 2;
  });
  if (WIFSIGNALED(inspected.status)) {
    throw Error(ErrorCode::plugin_failed, concat(path, ": crashed while it was asked what it provides: ",
                                                 ::strsignal(WTERMSIG(inspected.status))));
  }
  if (inspected.status != 0) throw Error(ErrorCode::plugin_failed, inspected.output);
  return parse_manifest(inspected.output, path);
}

// Two lines on stdout, "ok" and the manifest or "failed" and the reason; what the plugin prints goes nowhere.
int probe(const std::string& path, const std::string& bytes, const std::string& mode) {
  const int out = ::dup(STDOUT_FILENO);
  if (std::freopen("/dev/null", "w", stdout) == nullptr) return 1;
  std::string answer;
  try {
    answer = concat("ok\n", to_json(probe_here(path, {.memory_bytes = std::stoull(bytes), .mode = static_cast<ProbeMode>(std::stoi(mode))})), "\n");
  } catch (const std::exception& error) {
    std::string_view reason = error.what();
    if (reason.starts_with(path + ": ")) reason.remove_prefix(path.size() + 2);
    answer = concat("failed\n", reason.substr(0, reason.find('\n')), "\n");
  }
  const bool written = ::write(out, answer.data(), answer.size()) == static_cast<ssize_t>(answer.size());
  ::_exit(written ? 0 : 1);
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() == 2 && arguments[0] == "read") {
    std::cout << read_note(arguments[1]) << "\n";
    return 0;
  }
  const bool with_source = arguments.size() == 4 && arguments[2] == "--source";
  if ((arguments.size() == 2 || with_source) && arguments[0] == "write") {
    Manifest manifest = inspect_in_child(arguments[1]);
    if (with_source) manifest.source = source_commit(arguments[3]);
    write_note(arguments[1], to_json(manifest));
    return 0;
  }
  if (arguments.size() == 4 && arguments[0] == "probe") return probe(arguments[1], arguments[2], arguments[3]);
  std::cerr << "usage: backplane-manifest write LIBRARY [--source FOLDER] | read LIBRARY | probe LIBRARY BYTES MODE\n";
  return 2;
}

}  // namespace
}  // namespace backplane

int main(int argc, char** argv) {
  try {
    return backplane::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "backplane-manifest: " << error.what() << "\n";
    return 1;
  }
}
