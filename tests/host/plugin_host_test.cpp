#include "backplane/host/plugin_host.h"

#include <link.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "backplane/base/digest.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/pretrained_config.h"
#include "backplane/host/library.h"
#include "host/toys.h"

using namespace backplane;
using namespace backplane::test;

namespace {

std::vector<std::string> mapped_libraries(const std::string& below) {
  struct Search {
    std::string below;
    std::vector<std::string> found;
  } search{below, {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* library, size_t, void* data) {
        auto& search = *static_cast<Search*>(data);
        if (std::string_view(library->dlpi_name).starts_with(search.below)) search.found.emplace_back(library->dlpi_name);
        return 0;
      },
      &search);
  return search.found;
}

}  // namespace

TEST_CASE("a plugin is declared unopened, opened at the first dispatch, and serves") {
  const Folder folder;
  const std::string path = folder.copy("toy", "libtoy.so");
  Host host(folder.settings());

  const auto declared = host.registry.config("toy");
  REQUIRE(declared);
  CHECK(declared->class_name == "ToyConfig");
  CHECK_FALSE(declared->create);
  CHECK(declared->provider->id == "org.example.toy");
  CHECK(declared->provider->path == path);
  CHECK(host.registry.preprocessor("AutoTokenizer", "toy")->fast == "BertTokenizerFast");
  CHECK(mapped_libraries(folder.path()).empty());

  CHECK(host.load("toy") == "");
  CHECK(mapped_libraries(folder.path()) == std::vector<std::string>{path});
  const auto config = host.registry.config("toy")->create();
  CHECK(config->model_type_name == "toy");
  CHECK(config->class_name == "ToyConfig");
  CHECK(host.plugins.list().at(0).state == PluginState::loaded);
}

TEST_CASE("dispatch from eight threads opens a plugin once") {
  const Folder folder;
  folder.copy("toy", "libtoy.so");
  Host host(folder.settings());
  const size_t before = opened_plugins();
  std::vector<std::thread> threads;
  std::atomic<int> served = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      if (host.load("toy").empty() && host.registry.config("toy")->create()->model_type_name == "toy") ++served;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(served == 8);
  CHECK(opened_plugins() == before + 1);
}

TEST_CASE("400 libraries in a folder are listed without opening one") {
  const Folder folder;
  for (int i = 0; i < 400; ++i) folder.copy("toy", concat("libtoy", i, ".so"));
  for (int i = 0; i < 600; ++i) folder.write(concat("plugins/other", i, ".txt"), "x");
  const size_t before = opened_plugins();
  const auto start = std::chrono::steady_clock::now();
  Host host(folder.settings());
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  const auto records = host.plugins.list();
  CHECK(records.size() == 400);
  CHECK(opened_plugins() == before);
  CHECK(mapped_libraries(folder.path()).empty());
  WARN("400 libraries in " << took.count() << " ms");
}

TEST_CASE("two providers of a type: the first in order has it whole, the other is listed with the reason") {
  const Folder folder;
  const auto toy = folder.copy("toy", "a.so");
  const auto rival = folder.copy("toy_rival", "b.so");
  Host host(folder.settings());
  CHECK(host.registry.config("toy")->class_name == "ToyConfig");
  CHECK(host.registry.preprocessor("AutoTokenizer", "toy")->slow == "BertTokenizer");
  CHECK(host.registry.config("rival")->class_name == "RivalConfig");

  const auto why = host.plugins.why("toy");
  REQUIRE(why.size() == 2);
  CHECK(why[0].chosen);
  CHECK(why[0].plugin.manifest.id == "org.example.toy");
  CHECK_FALSE(why[1].chosen);
  CHECK(why[1].reason == concat("'toy' comes from org.example.toy (", toy, ")"));
  CHECK(why[1].plugin.conflicts ==
        std::vector<std::string>{concat("AutoConfig for 'toy' comes from org.example.toy (", toy, ")"),
                                 concat("AutoTokenizer for 'toy' comes from org.example.toy (", toy, ")")});

  SECTION("by priority") {
    auto settings = folder.settings();
    settings.priority["org.example.toy_rival"] = 5;
    Host other(settings);
    CHECK(other.registry.config("toy")->class_name == "RivalConfig");
    CHECK(other.registry.preprocessor("AutoTokenizer", "toy")->slow == "GPT2Tokenizer");
    CHECK(other.plugins.why("toy")[0].plugin.manifest.id == "org.example.toy_rival");
  }
  SECTION("by the sidecar file") {
    folder.write("plugins/b.yaml", "priority: 5\ndocumentation: https://example.org\n");
    CHECK(Host(folder.settings()).registry.config("toy")->class_name == "RivalConfig");
    folder.write("plugins/b.yaml", "disabled: true\n");
    Host disabled(folder.settings());
    CHECK(disabled.plugins.list().at(1).state == PluginState::disabled);
    CHECK(disabled.load("rival") ==
          concat("plugin_not_installed: ", rival, ": disabled by ", folder.plugins(), "/b.yaml"));
  }
  SECTION("by preference for one type") {
    auto settings = folder.settings();
    settings.prefer["toy"] = "org.example.toy_rival";
    Host other(settings);
    CHECK(other.registry.config("toy")->class_name == "RivalConfig");
    CHECK(other.plugins.list().at(0).state == PluginState::shadowed);
  }
}

TEST_CASE("a third party never comes before a built-in plugin, unless the settings prefer it") {
  const Folder folder;
  fs::create_directories(folder.path() + "/builtin");
  const std::string built_in = folder.path() + "/builtin/libtoy.so";
  fs::copy_file(fs::path(BACKPLANE_BINARY_DIR) / "tests" / "plugins" / "libtoy_builtin.so", built_in);
  folder.copy("toy_rival", "rival.so");
  auto settings = folder.settings("--plugin");
  settings.plugin_paths.push_back({folder.path() + "/builtin", "installation"});
  settings.priority["org.example.toy_rival"] = 1000;
  Host host(settings);
  CHECK(host.plugins.list().at(0).built_in);
  CHECK(host.registry.config("toy")->provider->id == "toy_builtin");
  settings.prefer["toy"] = "org.example.toy_rival";
  CHECK(Host(settings).registry.config("toy")->provider->id == "org.example.toy_rival");
}

TEST_CASE("where the first candidate fails, the next takes over and a warning says so") {
  const Folder folder;
  const auto evil = folder.copy("toy_evil", "a.so");
  const auto twin = folder.copy("toy_evil", "b.so");
  Host host(folder.settings());
  REQUIRE(host.registry.config("evil")->provider->path == evil);
  fs::last_write_time(evil, fs::last_write_time(evil) + 5);
  WarningCollector warnings;
  CHECK(host.load("evil") == "");
  CHECK(host.registry.config("evil")->provider->path == twin);
  CHECK(warnings.messages() ==
        std::vector<std::string>{concat(evil, ": changed since this process looked at it; start again; org.example.toy_evil (", twin,
                                        ") is used instead")});
  CHECK(host.plugins.list().at(0).state == PluginState::failed);
}

TEST_CASE("a plugin of other users' making is not trusted") {
  const Folder folder;
  const auto path = folder.copy("toy", "libtoy.so");
  ::chmod(path.c_str(), 0666);
  Host host(folder.settings());
  CHECK(host.load("toy") == concat("trust_required: ", path, ": every user of this machine can write it; chmod o-w"));
  CHECK(mapped_libraries(folder.path()).empty());
}

TEST_CASE("trust level deny opens no third party's plugin") {
  const Folder folder;
  const auto path = folder.copy("toy", "libtoy.so");
  auto settings = folder.settings();
  settings.trust = TrustLevel::deny;
  Host host(settings);
  CHECK(host.load("toy") ==
        concat("trust_required: ", path, ": not part of this installation, and the trust level is 'deny'"));
  CHECK(mapped_libraries(folder.path()).empty());
}

TEST_CASE("trust level locked opens what the lock file has, by content") {
  const Folder folder;
  const auto path = folder.copy("toy", "libtoy.so");
  auto settings = folder.settings();
  settings.trust = TrustLevel::locked;
  settings.lock_file = folder.write("backplane.lock", R"({"plugins":[{"sha256":"00"}]})");
  CHECK(Host(settings).load("toy").find("is not in " + settings.lock_file) != std::string::npos);
  CHECK(mapped_libraries(folder.path()).empty());
  folder.write("backplane.lock", concat(R"({"plugins":[{"sha256":")", sha256_file(path), R"("}]})"));
  CHECK(Host(settings).load("toy") == "");
  settings.lock_file = folder.write("bad.lock", "[]");
  CHECK(error_of([&] { Host host(settings); }) ==
        concat("bad_settings: ", settings.lock_file, ": not a lock file; 'backplane plugins lock' writes one"));
}

TEST_CASE("folders that are missing or unreadable are told, and stop nothing") {
  const Folder folder;
  folder.copy("toy", "libtoy.so");
  auto settings = folder.settings();
  settings.plugin_paths.insert(settings.plugin_paths.begin(), {folder.path() + "/nowhere", "user"});
  Host host(settings);
  CHECK(host.plugins.searched() == std::vector<std::string>{folder.path() + "/nowhere (missing)", folder.plugins()});
  CHECK(host.load("toy") == "");
  settings.plugin_paths[0].origin = "--plugin";
  CHECK(error_of([&] { Host other(settings); }) ==
        concat("file_not_found: --plugin ", folder.path(), "/nowhere: there is no such library or folder"));
}
