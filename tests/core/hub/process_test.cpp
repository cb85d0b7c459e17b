#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <thread>

#include "hub_fixture.h"

using namespace backplane;
using Catch::Matchers::Contains;

extern char** environ;

// The other process: this program again, running the hidden case below.
TEST_CASE("download in a child", "[.child]") {
  if (const char* user = ::getenv("CHILD_USER")) {
    if (::getuid() == 0 && ::setuid(static_cast<uid_t>(std::stoul(user))) != 0) ::_exit(90);
  }
  if (const char* limit = ::getenv("CHILD_FILE_LIMIT")) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit value{std::stoul(limit), std::stoul(limit)};
    ::setrlimit(RLIMIT_FSIZE, &value);
  }
  std::string result;
  try {
    if (const char* file = ::getenv("CHILD_FILE"))
      ModelFiles("org/name").get(file);
    else
      download("org/name", {}, {});
    result = "done";
  } catch (const Error& error) {
    result = concat(to_string(error.code()), ": ", error.what());
  }
  // Not by Catch, which buffers: the parent reads what is written here.
  if (::write(3, result.data(), result.size()) < 0) ::_exit(91);
  ::_exit(0);
}

namespace {

struct Child {
  pid_t pid = 0;
  int out = -1;

  Child() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
    const char* arguments[] = {"child", "[.child]", nullptr};
    REQUIRE(::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, const_cast<char**>(arguments), environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    out = ends[0];
  }
  ~Child() {
    if (pid) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    ::close(out);
  }
  std::string result() {
    std::string text;
    char buffer[4096];
    for (ssize_t count; (count = ::read(out, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(count));
    ::waitpid(pid, nullptr, 0);
    pid = 0;
    return text;
  }
  /// True where it was still at work.
  bool kill_after(std::chrono::microseconds time) {
    std::this_thread::sleep_for(time);
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    pid = 0;
    return WIFSIGNALED(status);
  }
};

void check_whole(const HubFixture& f, const FakeHub::Files& files, const std::string& commit) {
  for (const auto& [name, file] : files) {
    const std::string path = f.repo_path("snapshots/" + commit + "/" + name);
    REQUIRE(fs::exists(path));
    REQUIRE(contents(path) == file.bytes);
  }
  for (const auto& check : HubCache(f.cache).verify()) REQUIRE(check.verdict == HubCache::Verdict::ok);
}

}  // namespace

TEST_CASE_METHOD(HubFixture, "kill -9 at fifty random points, then a new start: always the right bytes") {
  FakeHub::Files files;
  for (unsigned i = 0; i < 6; ++i) files[concat("part", i)] = {random_bytes(60'000 + 10'000 * i, i), i % 3 != 0};
  files["sub/config.json"] = {"{}"};
  const std::string commit = hub.commit("org/name", files);
  hub.set_throttle(400'000);
  std::mt19937 generator(2024);
  int killed = 0;
  for (int round = 0; killed < 50 && round < 200; ++round) {
    Child child;
    const bool at_work = child.kill_after(std::chrono::microseconds(5'000 + generator() % 200'000));
    killed += at_work;
    // What stands under a final name is whole at any time.
    for (const auto& check : HubCache(cache).verify()) REQUIRE(check.verdict == HubCache::Verdict::ok);
    if (at_work && killed % 3 != 0) continue;
    Child next;
    REQUIRE(next.result() == "done");
    check_whole(*this, files, commit);
    fs::remove_all(cache);
  }
  CHECK(killed > 10);  // how many are hit at work depends on the machine
}

TEST_CASE_METHOD(HubFixture, "two processes share the work") {
  const FakeHub::Files files = {
      {"a", {random_bytes(400'000, 1), true}}, {"b", {random_bytes(400'000, 2), true}}, {"c", {"small"}}};
  const std::string commit = hub.commit("org/name", files);
  hub.set_throttle(3'000'000);
  Child first, second, third;
  CHECK(first.result() == "done");
  CHECK(second.result() == "done");
  CHECK(third.result() == "done");
  check_whole(*this, files, commit);
  const auto requests = hub.requests();
  CHECK(std::count_if(requests.begin(), requests.end(), [](const auto& request) { return request.cdn; }) == 2);
}

TEST_CASE_METHOD(HubFixture, "a full disk is said, and what came is kept") {
  const FakeHub::Files files = {{"w", {random_bytes(400'000, 1), true}}};
  const std::string commit = hub.commit("org/name", files);
  {
    Variable limit("CHILD_FILE_LIMIT", "100000");
    Child child;
    const std::string result = child.result();
    CHECK_THAT(result, Catch::StartsWith("io: ") && Contains("disk is full") && Contains("are free") &&
                           Contains("1 partial download") && Contains(".incomplete"));
  }
  CHECK(fs::file_size(repo_path("blobs/" + fs::directory_iterator(repo_path("blobs"))->path().filename().string())) ==
        100'000);
  CHECK(files_in(repo_path("snapshots")) == 0);
  hub.clear_requests();
  Child child;
  CHECK(child.result() == "done");
  CHECK(hub.requests().back().header("range") == "bytes=100000-");
  check_whole(*this, files, commit);
}

TEST_CASE_METHOD(HubFixture, "a cache that can't be written serves what it has") {
  const std::string commit = hub.commit("org/name", {{"f", {"1"}}, {"g", {"2"}}});
  cached_file("org/name", "f");
  fs::permissions(folder.path, fs::owner_all | fs::group_read | fs::group_exe | fs::others_read | fs::others_exe);
  for (const auto& entry : fs::recursive_directory_iterator(cache)) {
    if (!fs::is_symlink(entry.symlink_status())) {
      fs::permissions(entry.path(), fs::is_directory(entry.path()) ? fs::perms(0555) : fs::perms(0444));
    }
  }
  fs::permissions(cache, fs::perms(0555));
  Variable user("CHILD_USER", "65534");
  const auto run = [&](const char* file) {
    Variable name("CHILD_FILE", file);
    Child child;
    return child.result();
  };
  CHECK(run("f") == "done");
  hub.commit("org/name", {{"f", {"1"}}, {"h", {"3"}}}, "main");
  CHECK_THAT(run("g"), Catch::StartsWith("file_not_found: "));
  CHECK_THAT(run("h"), Catch::StartsWith("io: ") && Contains("HF_HUB_CACHE") && Contains(cache));
  CHECK(contents(repo_path("refs/main")) == commit);
  CHECK(files_in(repo_path("snapshots")) == 1);
  for (const auto& entry : fs::recursive_directory_iterator(cache)) {
    if (fs::is_directory(entry.symlink_status())) fs::permissions(entry.path(), fs::perms(0755));
  }
}
