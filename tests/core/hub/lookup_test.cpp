#include <thread>

#include "hub_fixture.h"

using namespace backplane;
using Catch::Matchers::Contains;

TEST_CASE_METHOD(HubFixture, "AC-71, AC-86: a file is fetched once into Hugging Face's layout") {
  const std::string commit =
      hub.commit("org/name", {{"config.json", {"{\"a\": 1}"}}, {"sub/deep/w.bin", {"weights", true}}});
  ModelFiles model("org/name");
  CHECK(model.commit_hash() == std::nullopt);
  const std::string path = model.get("config.json");
  CHECK(path == repo_path("snapshots/" + commit + "/config.json"));
  CHECK(contents(path) == "{\"a\": 1}");
  CHECK(model.commit_hash() == commit);
  CHECK(model.folder() == repo_path("snapshots/" + commit));
  CHECK(contents(repo_path("refs/main")) == commit);
  CHECK(fs::read_symlink(path).string() == "../../blobs/" + FakeHub::git_hash("{\"a\": 1}"));
  CHECK(fs::exists(cache + "/.locks/models--org--name/" + FakeHub::git_hash("{\"a\": 1}") + ".lock"));
  CHECK(hub.count("HEAD") == 1);
  CHECK(hub.count("GET") == 1);

  const std::string deep = model.get("sub/deep/w.bin");
  CHECK(fs::read_symlink(deep).parent_path() == "../../../../blobs");
  CHECK(fs::read_symlink(deep).filename().size() == 64);
  CHECK(contents(deep) == "weights");

  hub.clear_requests();
  ModelFiles warm("org/name");
  CHECK(warm.get("config.json") == path);
  CHECK(warm.get("sub/deep/w.bin") == deep);
  CHECK(hub.count("HEAD") == 1);  // AC-73
  CHECK(hub.count("GET") == 0);
  hub.clear_requests();
  CHECK(cached_file("org/name", "w.bin", {.revision = commit, .subfolder = "./sub//deep/"}) == deep);
  CHECK(hub.requests().empty());
}

TEST_CASE_METHOD(HubFixture, "revisions are branches, tags, pull requests and commits") {
  const std::string first = hub.commit("org/name", {{"f", {"1"}}});
  const std::string second = hub.commit("org/name", {{"f", {"2"}}});
  hub.commit("org/name", {{"f", {"3"}}}, "refs/pr/1");
  hub.tag("org/name", "v1.0", first);
  const auto at = [&](const std::string& revision) {
    return contents(*cached_file("org/name", "f", {.revision = revision}));
  };
  CHECK(at("main") == "2");
  CHECK(at("v1.0") == "1");
  CHECK(at("refs/pr/1") == "3");
  CHECK(at(first) == "1");
  CHECK(contents(repo_path("refs/refs/pr/1")).size() == 40);
  CHECK(contents(repo_path("refs/v1.0")) == first);
  CHECK(!fs::exists(repo_path("refs/" + first)));
  const auto [code, text] = error_of([&] { at("v9"); });
  CHECK(code == "revision_not_found");
  CHECK_THAT(text, Contains("'v9'") && Contains("'org/name'"));
  CHECK(error_of([&] { at("../../x"); }).first == "revision_not_found");
  CHECK(error_of([&] { at(std::string(40, 'a')); }).first == "revision_not_found");
}

TEST_CASE_METHOD(HubFixture, "AC-44: a call keeps its commit although the branch moves") {
  const std::string first = hub.commit("org/name", {{"a", {"a1"}}, {"b", {"b1", true}}});
  ModelFiles model("org/name");
  model.get("a");
  hub.commit("org/name", {{"a", {"a2"}}, {"b", {"b2", true}}});
  CHECK(contents(model.get("b")) == "b1");
  CHECK(model.list() == std::vector<std::string>{"a", "b"});
  CHECK(model.commit_hash() == first);
  CHECK(contents(*cached_file("org/name", "b")) == "b2");
  CHECK(contents(*cached_file("org/name", "b", {.commit_hash = first})) == "b1");
}

TEST_CASE_METHOD(HubFixture, "AC-76, AC-77: what is absent is remembered") {
  const std::string commit = hub.commit("org/name", {{"config.json", {"{}"}}});
  ModelFiles model("org/name");
  CHECK(model.find("absent.json") == std::nullopt);
  CHECK(fs::exists(repo_path(".no_exist/" + commit + "/absent.json")));
  CHECK(fs::exists(repo_path("snapshots/" + commit)));
  CHECK(model.find("absent.json") == std::nullopt);
  CHECK(hub.requests().size() == 1);
  const auto [code, text] = error_of([&] { model.get("absent.json"); });
  CHECK(code == "file_not_found");
  CHECK_THAT(text, Contains("'org/name'") && Contains("'absent.json'") && Contains("'main'"));
  model.get("config.json");
  CHECK(cached_file("org/name", "absent.json", {.local_files_only = true}) == std::nullopt);
}

TEST_CASE_METHOD(HubFixture, "AC-75: six failures have six codes") {
  hub.commit("org/name", {{"f", {"1"}}});
  hub.commit("org/secret", {{"f", {"1"}}});
  hub.set_private("org/secret", "right");
  hub.commit("org/gated", {{"f", {"1"}}});
  hub.set_gated("org/gated", "right");
  const auto failure = [&](const std::string& repo, HubOptions options = {}) {
    return error_of([&] { ModelFiles(repo, options).get("f"); });
  };

  CHECK(failure("org/none").first == "repo_not_found");
  CHECK_THAT(failure("org/none").second, Contains("'org/none'") && Contains("private") && Contains("HF_TOKEN"));
  CHECK(failure("org/secret").first == "repo_not_found");
  CHECK(failure("org/secret", {.token = std::string("wrong")}).first == "repo_not_found");
  CHECK(failure("org/secret", {.token = std::string("right")}).first == "no error");
  CHECK(failure("org/gated").first == "gated_repo");
  CHECK_THAT(failure("org/gated").second, Contains("'org/gated'") && Contains("no token"));
  CHECK(failure("org/gated", {.token = std::string("wrong")}).first == "gated_repo");
  CHECK(failure("org/gated", {.token = std::string(" right\n")}).first == "invalid_value");
  CHECK(failure("org/gated", {.token = std::string("right")}).first == "no error");
  CHECK(failure("org/name", {.local_files_only = true}).first == "offline");
  CHECK_THAT(failure("org/name", {.local_files_only = true}).second, Contains("local_files_only") && Contains("'f'"));
  CHECK(ModelFiles("org/gated").find_optional("g") == std::nullopt);
  CHECK(ModelFiles("org/name", {.local_files_only = true}).find_optional("g") == std::nullopt);
  CHECK(error_of([&] { ModelFiles("org/none").find_optional("g"); }).first == "repo_not_found");
  // Fetched before it was closed: AC-74
  hub.set_private("org/gated", "right");
  CHECK(failure("org/gated").first == "no error");
}

TEST_CASE_METHOD(HubFixture, "without a hub the cache answers, and says when it can't") {
  hub.commit("org/name", {{"f", {"1"}}});
  cached_file("org/name", "f");
  const HubOptions dead{.endpoint = "http://127.0.0.1:9"};
  ModelFiles model("org/name", dead);
  const double time = seconds_of([&] {
    CHECK(contents(model.get("f")) == "1");
    CHECK(model.find_optional("g") == std::nullopt);
    const auto [code, text] = error_of([&] { model.get("g"); });
    CHECK(code == "network");
    CHECK_THAT(text, Contains("http://127.0.0.1:9") && Contains("'g'"));
  });
  CHECK(time < 10);
  CHECK(seconds_of([&] { CHECK(error_of([&] { cached_file("org/other", "f", dead); }).first == "network"); }) < 40);
}

TEST_CASE_METHOD(HubFixture, "offline mode asks nobody") {
  const std::string commit = hub.commit("org/name", {{"f", {"1"}}, {"g", {"2"}}});
  cached_file("org/name", "f");
  hub.clear_requests();
  Variable on("HF_HUB_OFFLINE", "1");
  CHECK(contents(*cached_file("org/name", "f")) == "1");
  CHECK(contents(*cached_file("org/name", "f", {.revision = commit})) == "1");
  CHECK(ModelFiles("org/name").list() == std::vector<std::string>{"f"});
  CHECK(error_of([&] { cached_file("org/name", "f", {.revision = commit.substr(0, 7)}); }).first ==
        "offline");  // AC-72
  CHECK(error_of([&] { cached_file("org/name", "g"); }).first == "offline");
  CHECK(error_of([&] { cached_file("org/other", "f"); }).first == "offline");
  CHECK(error_of([&] { cached_file("org/name", "f", {.force_download = true}); }).first == "offline");
  fs::remove_all(repo_path("refs"));
  CHECK(error_of([&] { cached_file("org/name", "f"); }).first == "offline");
  CHECK(hub.requests().empty());
  // AC-85: a first variable that is set hides the second
  Variable off("HF_HUB_OFFLINE", "0"), second("TRANSFORMERS_OFFLINE", "1");
  CHECK(contents(*cached_file("org/name", "g")) == "2");
}

TEST_CASE_METHOD(HubFixture, "a ref with a line end is mended") {
  const std::string commit = hub.commit("org/name", {{"f", {"1"}}});
  cached_file("org/name", "f");
  write_file(repo_path("refs/main"), commit + "\n");
  CHECK(cached_file("org/name", "f", {.local_files_only = true}));
  CHECK(contents(repo_path("refs/main")) == commit);
  for (const std::string hostile : {"../../x", "", "main", "0000"}) {
    write_file(repo_path("refs/main"), hostile);
    CHECK(error_of([&] { cached_file("org/name", "f", {.local_files_only = true}); }).first == "offline");
  }
  cached_file("org/name", "f");
  CHECK(contents(repo_path("refs/main")) == commit);
}

TEST_CASE_METHOD(HubFixture, "AC-82: the token goes to the endpoint alone") {
  hub.commit("org/name", {{"w", {"weights", true}}});
  Variable set("HF_TOKEN", "secret");
  cached_file("org/name", "w");
  bool seen = false;
  for (const auto& request : hub.requests()) {
    CHECK(request.header("authorization") == (request.cdn ? "" : "Bearer secret"));
    seen |= request.cdn;
  }
  CHECK(seen);
  hub.clear_requests();
  cached_file("org/name", "w", {.token = false, .force_download = true});
  for (const auto& request : hub.requests()) CHECK(request.header("authorization").empty());

  Variable unset("HF_TOKEN", nullptr);
  write_file(folder.path + "/token", "from_file\n");
  hub.clear_requests();
  cached_file("org/name", "w");
  CHECK(hub.requests().at(0).header("authorization") == "Bearer from_file");
  {
    Variable implicit("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
    hub.clear_requests();
    cached_file("org/name", "w");
    CHECK(hub.requests().at(0).header("authorization").empty());
    cached_file("org/name", "w", {.token = true});
    CHECK(hub.requests().at(1).header("authorization") == "Bearer from_file");
  }
  fs::remove(folder.path + "/token");
  CHECK(error_of([&] { cached_file("org/name", "w", {.token = true}); }).first == "invalid_value");
}

TEST_CASE_METHOD(HubFixture, "AC-84: the environment says where the cache is") {
  hub.commit("org/name", {{"f", {"1"}}});
  cached_file("org/name", "f");
  CHECK(fs::exists(folder.path + "/hub/models--org--name"));
  Variable base("BASE", folder.path.c_str());
  {
    Variable named("HF_HUB_CACHE", "${BASE}/other");
    cached_file("org/name", "f");
    CHECK(fs::exists(folder.path + "/other/models--org--name/refs/main"));
    cached_file("org/name", "f", {.cache_dir = folder.path + "/third/"});
    CHECK(fs::exists(folder.path + "/third/models--org--name/refs/main"));
  }
  Variable no_home("HF_HOME", nullptr), user("HOME", folder.path.c_str()), xdg("XDG_CACHE_HOME", nullptr);
  CHECK(HubCache().folder() == folder.path + "/.cache/huggingface/hub");
  Variable tilde("HF_HOME", "~/hf");
  CHECK(HubCache().folder() == folder.path + "/hf/hub");
}

TEST_CASE_METHOD(HubFixture, "names are folders, ids or neither") {
  fs::create_directories(folder.path + "/model/sub");
  write_file(folder.path + "/model/sub/config.json", "local");
  ModelFiles model(folder.path + "/model", {.revision = "no such", .subfolder = "sub", .force_download = true});
  CHECK(model.is_local());
  CHECK(contents(model.get("config.json")) == "local");
  CHECK(model.find("absent") == std::nullopt);
  CHECK(model.commit_hash() == std::nullopt);
  CHECK(model.list() == std::vector<std::string>{"config.json"});
  CHECK(model.read_range("config.json", 2, 100) == "cal");
  CHECK(model.size("config.json") == 5);
  CHECK(error_of([&] { model.get("absent"); }).first == "file_not_found");
  CHECK(error_of([&] { model.get("../../x"); }).first == "bad_file_name");
  CHECK(error_of([&] { ModelFiles(folder.path + "/model", {.subfolder = "../.."}).find("x"); }).first ==
        "bad_file_name");

  for (const char* path : {"/no/such/folder", "./none", "../none", "a/b/c", "", "org/"}) {
    CHECK(error_of([&] { ModelFiles m(path); }).first == "not_found");
  }
  for (const char* id : {"org--x/name", "a..b", "-org/name", "org/name.git", "org/na me", "org/nämé", "name-", "o:r"}) {
    CHECK(error_of([&] { ModelFiles m(id); }).first == "invalid_repo_id");
  }
  for (const char* id : {"name", "org/name", "Foo-BAR_foo.bar123", "_x/y_"}) CHECK(is_repo_id(id));
  CHECK(!is_repo_id(std::string(97, 'a')));
  CHECK(is_repo_id(std::string(96, 'a')));
  for (const char* file : {"../x", "/etc/passwd", "a//b", "a/../b", "", ".", "a\\b"}) {
    CHECK(error_of([&] { ModelFiles("org/name").find(file); }).first == "bad_file_name");
  }
  CHECK(hub.requests().empty());
}

TEST_CASE_METHOD(HubFixture, "addresses name repositories and files") {
  hub.commit("org/name", {{"sub/f", {"1"}}});
  const std::string commit = hub.commit("org/name", {{"sub/f", {"2"}}}, "dev");
  CHECK(contents(ModelFiles(hub.endpoint() + "/org/name/").get("sub/f")) == "1");
  CHECK(contents(ModelFiles(hub.endpoint() + "/org/name/tree/dev/sub").get("f")) == "2");
  CHECK(error_of([&] { ModelFiles m("https://elsewhere.example/org/name"); }).first == "invalid_repo_id");
  CHECK(download_url(hub.endpoint() + "/org/name/resolve/dev/sub/f") == repo_path("snapshots/" + commit + "/sub/f"));
  CHECK(error_of([&] { download_url(hub.endpoint() + "/org/name/blob/dev/none"); }).first == "file_not_found");
  hub.set_fault([](const FakeHub::Request& request, FakeHub::Response& response) {
    if (request.cdn && request.target == "/any/file") response = {.body = "anything"};
  });
  const std::string path = download_url(hub.cdn_endpoint() + "/any/file", {.token = std::string("secret")});
  CHECK(contents(path) == "anything");
  CHECK(hub.requests().back().header("authorization").empty());
  fs::remove(path);
  CHECK(error_of([&] { download_url(hub.cdn_endpoint() + "/none"); }).first == "file_not_found");
  CHECK(error_of([&] { download_url("file:///etc/passwd"); }).first == "invalid_value");
}

TEST_CASE_METHOD(HubFixture, "headers of weights come by Range alone") {
  const std::string bytes = random_bytes(1 << 20, 1);
  hub.commit("org/name", {{"model.safetensors", {bytes, true}}, {"small", {"abc"}}});
  ModelFiles model("org/name");
  CHECK(model.size("model.safetensors") == bytes.size());
  CHECK(model.read_range("model.safetensors", 0, 8) == bytes.substr(0, 8));
  CHECK(model.read_range("model.safetensors", 8, 1000) == bytes.substr(8, 1000));
  CHECK(model.read_range("model.safetensors", bytes.size() - 3, 10) == bytes.substr(bytes.size() - 3));
  CHECK(model.read_range("model.safetensors", bytes.size() + 5, 10).empty());
  CHECK(error_of([&] { model.read_range("none", 0, 8); }).first == "file_not_found");
  CHECK(error_of([&] { model.read_range("model.safetensors", 0, 1ull << 40); }).first == "limit_exceeded");
  for (const auto& request : hub.requests()) {
    if (request.method == "GET") CHECK(!request.header("range").empty());
  }
  CHECK(files_in(repo_path("blobs")) == 0);
  hub.set_fault([&](const FakeHub::Request& request, FakeHub::Response& response) {
    if (request.cdn) response = {.body = bytes};  // a server without Range
  });
  CHECK(model.read_range("model.safetensors", 100, 50) == bytes.substr(100, 50));
}

TEST_CASE_METHOD(HubFixture, "proxies of the call carry its requests") {
  hub.commit("org/name", {{"f", {"1"}}});
  const HubOptions options{.endpoint = "http://hub.invalid", .proxies = {{"http", hub.endpoint()}}};
  CHECK(contents(*cached_file("org/name", "f", options)) == "1");
  CHECK_THAT(hub.requests().at(0).target, Catch::StartsWith("http://hub.invalid/org/name/resolve/"));
}

TEST_CASE_METHOD(HubFixture, "AC-80: force_download fetches what is there already, once a call") {
  const std::string commit = hub.commit("org/name", {{"f", {"right", true}}});
  const std::string path = *cached_file("org/name", "f");
  write_file(fs::canonical(path).string(), "wrong");
  CHECK(contents(*cached_file("org/name", "f")) == "wrong");
  ModelFiles model("org/name", {.force_download = true});
  CHECK(contents(model.get("f")) == "right");
  hub.clear_requests();
  CHECK(model.get("f") == path);
  CHECK(hub.requests().empty());
  CHECK(error_of([&] {
          cached_file("org/name", "f", {.endpoint = "http://127.0.0.1:9", .force_download = true});
        }).first == "network");
}

TEST_CASE_METHOD(HubFixture, "a whole repository comes in parallel, and the branch moves at the end") {
  FakeHub::Files files;
  for (int i = 0; i < 30; ++i) files[concat("f", i)] = {random_bytes(1000, 7), i % 2 == 0};  // two blobs only
  files["last"] = {"old", true};
  const std::string first = hub.commit("org/name", files);
  const Snapshot snapshot = download("org/name", {}, {});
  CHECK(snapshot.commit == first);
  CHECK(snapshot.path == repo_path("snapshots/" + first));
  CHECK(snapshot.files.size() == 31);
  CHECK(files_in(snapshot.path) == 31);
  CHECK(files_in(repo_path("blobs")) == 3);
  files["last"] = {"new", true};
  const std::string second = hub.commit("org/name", files);
  hub.set_fault([&](const FakeHub::Request& request, FakeHub::Response& response) {
    if (request.cdn) response = {.body = "bad"};
  });
  CHECK(error_of([&] { download("org/name", {}, {}); }).first == "bad_download");
  CHECK(contents(repo_path("refs/main")) == first);  // what was whole stays usable
  CHECK(contents(*cached_file("org/name", "last", {.local_files_only = true})) == "old");
  hub.set_fault({});
  CHECK(download("org/name", {"last"}, {}).files == std::vector<std::string>{"last"});
  CHECK(contents(repo_path("refs/main")) == second);
  CHECK(error_of([&] { download("org/name", {"last", "none"}, {}); }).first == "file_not_found");
  CHECK(download("org/name", {}, {.local_files_only = true}).files.back() == "last");
}

TEST_CASE_METHOD(HubFixture, "threads and calls that want one file fetch it once") {
  const std::string bytes = random_bytes(300'000, 3);
  hub.commit("org/name", {{"w", {bytes, true}}});
  hub.set_throttle(2'000'000);
  std::vector<std::thread> threads;
  std::vector<std::string> paths(6);
  for (size_t i = 0; i < paths.size(); ++i) threads.emplace_back([&, i] { paths[i] = *cached_file("org/name", "w"); });
  for (auto& thread : threads) thread.join();
  for (const auto& path : paths) CHECK(contents(path) == bytes);
  const auto requests = hub.requests();
  CHECK(std::count_if(requests.begin(), requests.end(), [](const auto& request) { return request.cdn; }) == 1);
}
