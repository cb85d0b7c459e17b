#include <fcntl.h>
#include <sys/file.h>

#include "hub_fixture.h"

using namespace backplane;

namespace {

std::map<std::string, std::string> verdicts(const HubCache& cache, const std::optional<std::string>& repo = {}) {
  std::map<std::string, std::string> result;
  for (const auto& check : cache.verify(repo)) result[check.file] = to_string(check.verdict);
  return result;
}

}  // namespace

TEST_CASE_METHOD(HubFixture, "the cache is listed, verified and emptied") {
  HubCache listing(cache);
  CHECK(listing.list().empty());
  const std::string first =
      hub.commit("org/name", {{"config.json", {"{}"}}, {"sub/w", {"weights", true}}, {"odd", {"x", false, "no-hash"}}});
  download("org/name", {}, {});
  const std::string second = hub.commit("org/name", {{"config.json", {"{\"a\":1}"}}});
  hub.tag("org/name", "v1", second);
  cached_file("org/name", "config.json");
  cached_file("org/name", "config.json", {.revision = "v1"});
  hub.commit("gpt", {{"f", {"1"}}});
  cached_file("gpt", "f");
  write_file(repo_path("blobs/abc.incomplete"), "part");
  fs::create_directories(cache + "/datasets--x--y/snapshots");
  write_file(cache + "/version.txt", "1");

  const auto repos = listing.list();
  REQUIRE(repos.size() == 2);
  CHECK(repos[0].id == "gpt");
  CHECK(repos[1].id == "org/name");
  CHECK(repos[1].path == repo_path());
  CHECK(repos[1].size == 2 + 7 + 1 + 7);
  CHECK(repos[1].partial_size == 4);
  REQUIRE(repos[1].revisions.size() == 2);
  for (const auto& revision : repos[1].revisions) {
    CHECK(revision.refs ==
          (revision.commit == second ? std::vector<std::string>{"main", "v1"} : std::vector<std::string>{}));
    CHECK(revision.files == (revision.commit == second ? std::vector<std::string>{"config.json"}
                                                       : std::vector<std::string>{"config.json", "odd", "sub/w"}));
  }

  CHECK(verdicts(listing, "org/name") ==
        std::map<std::string, std::string>{{"config.json", "ok"}, {"sub/w", "ok"}, {"odd", "unknown"}});
  write_file(fs::canonical(repo_path("snapshots/" + first + "/sub/w")).string(), "weightz");
  write_file(fs::canonical(cache + "/models--gpt/refs/main").string(), contents(cache + "/models--gpt/refs/main"));
  CHECK(verdicts(listing).at("sub/w") == "damaged");
  write_file(fs::canonical(repo_path("snapshots/" + second + "/config.json")).string(), "{\"a\":2}");
  CHECK(verdicts(listing, "gpt") == std::map<std::string, std::string>{{"f", "ok"}});
  fs::remove(fs::canonical(repo_path("snapshots/" + first + "/sub/w")));
  CHECK(verdicts(listing).at("sub/w") == "missing");
  CHECK(error_of([&] { listing.verify("org/none"); }).first == "not_found");
  CHECK(error_of([&] { listing.verify("../x"); }).first == "not_found");

  const std::string lock = cache + "/.locks/models--org--name/no-hash.lock";
  const int fd = ::open(lock.c_str(), O_RDWR);
  REQUIRE(::flock(fd, LOCK_EX) == 0);
  CHECK(error_of([&] { listing.remove("org/name"); }).first == "io");
  ::close(fd);
  CHECK(listing.remove("org/name") == 2 + 1 + 7 + 4 + 2 * 40);
  CHECK(!fs::exists(repo_path()));
  CHECK(!fs::exists(cache + "/.locks/models--org--name"));
  CHECK(error_of([&] { listing.remove("org/name"); }).first == "not_found");
  CHECK(error_of([&] { listing.remove("../.."); }).first == "not_found");
  CHECK(listing.list().size() == 1);
}
