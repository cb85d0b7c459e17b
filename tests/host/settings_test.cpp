#include "backplane/host/settings.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "host/toys.h"

using namespace backplane;
using namespace backplane::test;

namespace {

std::string refusal(const std::string& yaml) {
  Settings settings;
  return error_of([&] { read_settings(settings, yaml, "backplane.yaml"); });
}

// The working folder while a test runs.
class WorkingFolder {
 public:
  explicit WorkingFolder(const std::string& folder) : before_(fs::current_path()) { fs::current_path(folder); }
  ~WorkingFolder() { fs::current_path(before_); }

 private:
  fs::path before_;
};

std::vector<std::string> paths_of(const Settings& settings) {
  std::vector<std::string> paths;
  for (const auto& place : settings.plugin_paths) paths.push_back(place.path);
  return paths;
}

}  // namespace

TEST_CASE("settings: every key is read, and paths start from the file") {
  Settings settings;
  ::setenv("HOME", "/home/me", 1);
  read_settings(settings, R"(
plugins:
  folders: [relative, /absolute, ~/home]
  disabled: [org.me.old]
  prefer: {bert: org.me.bert}
  priority: {org.me.bert: 3}
trust: {level: locked, lock: my.lock}
cache: /cache
endpoint: https://hub.example
threads: 4
)", "/etc/backplane/backplane.yaml");
  CHECK(paths_of(settings) == std::vector<std::string>{"/etc/backplane/relative", "/absolute", "/home/me/home"});
  CHECK(settings.plugin_paths[0].origin == "/etc/backplane/backplane.yaml");
  CHECK(settings.disabled == std::vector<std::string>{"org.me.old"});
  CHECK(settings.prefer.at("bert") == "org.me.bert");
  CHECK(settings.priority.at("org.me.bert") == 3);
  CHECK(settings.trust == TrustLevel::locked);
  CHECK(settings.lock_file == "/etc/backplane/my.lock");
  CHECK(settings.cache_folder == "/cache");
  CHECK(settings.endpoint == "https://hub.example");
  CHECK(settings.threads == 4);
}

TEST_CASE("settings: a fault is told with file and line") {
  CHECK(refusal("") == "");
  CHECK(refusal("threads: 2\nplugin: x\n") ==
        "bad_settings: backplane.yaml:2: unknown key 'plugin'; known: plugins, trust, cache, endpoint, threads");
  CHECK(refusal("plugins:\n  folder: [x]\n") ==
        "bad_settings: backplane.yaml:2: unknown key 'plugins.folder'; known: folders, disabled, prefer, priority");
  CHECK(refusal("threads: many") == "bad_settings: backplane.yaml:1: 'threads' must be a whole number from 1 to 4096");
  CHECK(refusal("threads: 0") == "bad_settings: backplane.yaml:1: 'threads' must be a whole number from 1 to 4096");
  CHECK(refusal("trust: {level: all}") ==
        "bad_settings: backplane.yaml:1: 'trust.level' is 'all'; known: deny, locked, allow");
  CHECK(refusal("- a\n- b\n") == "bad_settings: backplane.yaml:1: the file must be a map of keys and values");
  CHECK(refusal("plugins: {folders: x}") == "bad_settings: backplane.yaml:1: 'plugins.folders' must be a list");
  CHECK(refusal("a: [1, 2\nb: }").starts_with("bad_settings: backplane.yaml:"));
  CHECK(refusal(std::string(100000, '[')) == "bad_settings: backplane.yaml: too long or nested too deeply");
  CHECK(refusal(std::string(100000, '-')).starts_with("bad_settings: "));
  CHECK(refusal(std::string(50000, '-') + " x: 1").starts_with("bad_settings: "));
  CHECK(refusal("? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? x").starts_with("bad_settings: "));
}

TEST_CASE("settings: any bytes are settings or a typed error") {
  const std::string good = "plugins:\n  folders: [a, b]\n  prefer: {x: y}\ntrust: {level: allow}\nthreads: 2\n";
  uint32_t seed = 5;
  const auto random = [&] { return (seed = seed * 1664525u + 1013904223u) >> 8; };
  for (int i = 0; i < 3000; ++i) {
    std::string yaml = good;
    for (uint32_t change = 0; change < 1 + random() % 5; ++change) yaml[random() % yaml.size()] = "[]{}:-?!&*#|>%@`'\"\n x\\"[random() % 23];
    Settings settings;
    const std::string error = error_of([&] { read_settings(settings, yaml, "f"); });
    CHECK((error.empty() || error.starts_with("bad_settings: ")));
  }
}

TEST_CASE("settings: files, environment and arguments, in that order") {
  const Folder folder;
  folder.write("config/backplane/backplane.yaml", "plugins: {folders: [mine]}\nthreads: 1\nendpoint: https://user\n");
  folder.write("work/backplane.yaml", "plugins: {folders: [local]}\nthreads: 2\n");
  ::setenv("BACKPLANE_PLUGIN_PATH", "/one::/two", 1);
  const WorkingFolder working(folder.path() + "/work");
  const Settings settings = load_settings({.plugins = {"/given.so"}, .trust = TrustLevel::locked});
  CHECK(paths_of(settings) == std::vector<std::string>{"/given.so", "/one", "/two", folder.path() + "/work/local",
                                                       folder.path() + "/config/backplane/mine",
                                                       folder.path() + "/config/backplane/plugins", built_in_plugin_folder()});
  CHECK(settings.threads == 2);
  CHECK(settings.endpoint == "https://user");
  CHECK(settings.trust == TrustLevel::locked);
  CHECK(built_in_plugin_folder() == fs::canonical(BACKPLANE_BINARY_DIR).string() + "/plugins");
}

TEST_CASE("settings: trust is only ever tightened") {
  const Folder folder;
  folder.write("config/backplane/backplane.yaml", "trust: {level: deny}\n");
  folder.write("work/backplane.yaml", "trust: {level: allow}\n");
  const WorkingFolder working(folder.path() + "/work");
  ::setenv("BACKPLANE_TRUST", "allow", 1);
  CHECK(load_settings({.trust = TrustLevel::allow}).trust == TrustLevel::deny);
  ::setenv("BACKPLANE_TRUST", "maybe", 1);
  CHECK(error_of([] { load_settings(); }) == "bad_settings: BACKPLANE_TRUST is 'maybe'; known: deny, locked, allow");
}

TEST_CASE("settings: a file in a model's folder, or that others may write, brings no code") {
  const Folder folder;
  const auto file = folder.write("work/backplane.yaml", "plugins: {folders: [evil], prefer: {bert: evil}}\nthreads: 3\n");
  const WorkingFolder working(folder.path() + "/work");
  const auto local = [&] { return paths_of(load_settings())[0] == folder.path() + "/work/evil"; };
  CHECK(local());
  WarningCollector warnings;
  SECTION("model") { folder.write("work/config.json", "{}"); }
  SECTION("writable") { ::chmod(file.c_str(), 0666); }
  CHECK_FALSE(local());
  CHECK(load_settings().prefer.empty());
  CHECK(load_settings().threads == 3);
  CHECK(warnings.messages().at(0) ==
        concat(file, ": its plugins are ignored: the file must be yours, writable by nobody else, and not stand in a model's folder"));
}
