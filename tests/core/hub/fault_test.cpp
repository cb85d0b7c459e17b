#include <atomic>

#include "hub_fixture.h"

using namespace backplane;
using Catch::Matchers::Contains;
using Request = FakeHub::Request;
using Response = FakeHub::Response;

namespace {

const std::string kBytes = random_bytes(400'000, 11);

struct FaultFixture : HubFixture {
  std::string commit = hub.commit("org/name", {{"w", {kBytes, true}}, {"config.json", {"{}"}}});

  std::string fetch(HubOptions options = {}) { return contents(ModelFiles("org/name", options).get("w")); }
  std::string code(const std::string& file = "w") {
    return error_of([&] { ModelFiles("org/name").get(file); }).first;
  }
  /// Nothing under blobs/ but whole files; nothing linked.
  bool clean() { return files_in(repo_path("blobs")) == 0 && files_in(repo_path("snapshots")) == 0; }
  std::string partial() {
    for (const auto& entry : fs::directory_iterator(repo_path("blobs"))) {
      if (entry.path().extension() == ".incomplete") return entry.path().string();
    }
    return {};
  }
};

}  // namespace

TEST_CASE_METHOD(FaultFixture, "a cut connection goes on where it stopped") {
  int cuts = 0;
  std::vector<std::string> ranges;
  hub.set_fault([&](const Request& request, Response& response) {
    if (!request.cdn) return;
    ranges.push_back(request.header("range"));
    if (cuts++ < 3) response.cut_after = 100'000;
  });
  CHECK(fetch() == kBytes);
  CHECK(ranges == std::vector<std::string>{"", "bytes=100000-", "bytes=200000-", "bytes=300000-"});
}

TEST_CASE_METHOD(FaultFixture, "a server without Range sends all again") {
  int cuts = 0;
  hub.set_fault([&](const Request& request, Response& response) {
    if (!request.cdn) return;
    response = {.body = kBytes};
    if (cuts++ < 2) response.cut_after = 150'000;
  });
  CHECK(fetch() == kBytes);
}

TEST_CASE_METHOD(FaultFixture, "answers of another range are not taken") {
  int wrong = 0;
  hub.set_fault([&](const Request& request, Response& response) {
    if (!request.cdn) return;
    if (wrong == 0) response.cut_after = 1000;
    if (wrong == 1) response.headers["Content-Range"] = concat("bytes 0-", kBytes.size() - 1, "/", kBytes.size());
    ++wrong;
  });
  CHECK(fetch() == kBytes);
  CHECK(wrong == 3);
}

TEST_CASE_METHOD(FaultFixture, "refusals that pass are retried") {
  std::atomic<int> answers = 0;
  hub.set_fault([&](const Request&, Response& response) {
    const int n = answers++;
    if (n == 0) response = {.status = 503};
    if (n == 1) response = {.status = 429, .headers = {{"Retry-After", "1"}}};
    if (n == 3) response.drop = true;
    if (n == 5) response = {.status = 500};
  });
  CHECK(fetch() == kBytes);
}

TEST_CASE_METHOD(FaultFixture, "a stalled answer is given up and asked for again") {
  Variable timeout("HF_HUB_DOWNLOAD_TIMEOUT", "1"), etag_timeout("HF_HUB_ETAG_TIMEOUT", "1");
  std::atomic<int> answers = 0;
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.cdn && answers++ == 0) {
      response.cut_after = 1000;
      response.stall_ms = 20'000;
    }
  });
  double time = seconds_of([&] { CHECK(fetch() == kBytes); });
  CHECK(time < 10);
}

TEST_CASE_METHOD(FaultFixture, "a long Retry-After is an error at once") {
  hub.set_fault([](const Request&, Response& response) {
    response = {.status = 429, .headers = {{"Retry-After", "61"}}};
  });
  const double time = seconds_of([&] {
    const auto [code, text] = error_of([&] { fetch(); });
    CHECK(code == "network");
    CHECK_THAT(text, Contains("429") && Contains("61 s"));
  });
  CHECK(time < 10);
}

TEST_CASE_METHOD(FaultFixture, "a lasting fault ends within 40 seconds") {
  SECTION("5xx of the hub") {
    hub.set_fault([](const Request&, Response& response) { response = {.status = 503}; });
  }
  SECTION("every connection is cut at the same byte") {
    hub.set_fault([](const Request& request, Response& response) {
      if (!request.cdn) return;
      response = {.body = kBytes};
      response.cut_after = 5000;
    });
  }
  const double time = seconds_of([&] { CHECK(error_of([&] { download("org/name", {}, {}); }).first == "network"); });
  CHECK(time < 40);
  CHECK(time > 5);
}

TEST_CASE_METHOD(FaultFixture, "wrong bytes are never kept") {
  std::string wrong = kBytes;
  wrong[12345] ^= 1;
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.cdn) response.body = wrong;
  });
  const auto [code, text] = error_of([&] { fetch(); });
  CHECK(code == "bad_download");
  CHECK_THAT(text, Contains("'w'") && Contains("'org/name'") && Contains("sha256"));
  CHECK(clean());
  hub.set_fault({});
  CHECK(fetch() == kBytes);
}

TEST_CASE_METHOD(FaultFixture, "a partial file is resumed, and fetched afresh where it was wrong") {
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.cdn) response = {.status = 404};
  });
  // What an interrupted download of Python or ours leaves.
  CHECK(error_of([&] { fetch(); }).first == "network");
  const std::string path = partial();
  REQUIRE(!path.empty());
  hub.set_fault({});
  SECTION("right so far") {
    write_file(path, kBytes.substr(0, 300'000));
    hub.clear_requests();
    CHECK(fetch() == kBytes);
    CHECK(hub.requests().back().header("range") == "bytes=300000-");
  }
  SECTION("complete") {
    write_file(path, kBytes);
    hub.clear_requests();
    CHECK(fetch() == kBytes);
    CHECK(hub.count("GET") == 0);
  }
  SECTION("wrong") { write_file(path, random_bytes(300'000, 5)); }
  SECTION("wrong and complete") { write_file(path, random_bytes(kBytes.size(), 5)); }
  SECTION("too long") { write_file(path, kBytes + "more"); }
  CHECK(fetch() == kBytes);
  CHECK(partial().empty());
}

TEST_CASE_METHOD(FaultFixture, "wrong lengths") {
  std::atomic<int> answers = 0;
  SECTION("more declared than sent, once") {
    hub.set_fault([&](const Request& request, Response& response) {
      if (request.cdn && answers++ == 0) response.declared = long(kBytes.size()) + 10;
    });
    CHECK(fetch() == kBytes);
  }
  SECTION("less declared than there is, once") {
    hub.set_fault([&](const Request& request, Response& response) {
      if (request.cdn && answers++ == 0) response.declared = 1000;
    });
    CHECK(fetch() == kBytes);
  }
  SECTION("less, always") {
    hub.set_fault([&](const Request& request, Response& response) {
      if (request.cdn) response = {.body = kBytes.substr(0, 1000)};
    });
    CHECK(code() == "bad_download");
    CHECK(clean());
  }
  SECTION("more, always") {
    hub.set_fault([&](const Request& request, Response& response) {
      if (request.cdn) response = {.body = kBytes + "more"};
    });
    CHECK(code() == "bad_download");
    CHECK(clean());
  }
  SECTION("a small file shorter than its HEAD said, always") {
    hub.set_fault([&](const Request& request, Response& response) {
      if (request.method == "GET") response = {.body = "{"};
    });
    CHECK(code("config.json") == "bad_download");
    CHECK(clean());
  }
  SECTION("a small file whose rest is wrong") {
    hub.set_fault([&](const Request& request, Response& response) {
      if (request.method == "GET" && answers++ < 2) response.body = "{";
    });
    CHECK(contents(ModelFiles("org/name").get("config.json")) == "{}");
    CHECK(answers == 3);
  }
}

TEST_CASE_METHOD(FaultFixture, "hostile headers never become paths") {
  std::string header, value;
  hub.set_fault([&](const Request& request, Response& response) {
    if (!request.cdn) response.headers[header] = value;
  });
  header = "X-Linked-Etag";
  for (const char* etag :
       {"\"../../../evil\"", "\"/etc/evil\"", "..", "\"\"", "\"a\\\\b\"", ".hidden", "\"x.incomplete\"", "a b"}) {
    value = etag;
    CHECK(code() == "network");
  }
  value = "\"" + std::string(300, 'a') + "\"";
  CHECK(code() == "network");
  header = "X-Repo-Commit";
  for (const char* hash : {"../../../evil", "main", "", "0123456789012345678901234567890123456789/.."}) {
    value = hash;
    CHECK(code() == "network");
  }
  CHECK(!fs::exists(cache));
  header = "X-Linked-Etag";
  value = "W/\"weak-but-plain\"";
  CHECK(fetch() == kBytes);
  CHECK(fs::exists(repo_path("blobs/weak-but-plain")));
}

TEST_CASE_METHOD(FaultFixture, "hostile listings never become paths") {
  std::string body;
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.target.starts_with("/api/")) response.body = body;
  });
  const auto code = [&](const std::string& text) {
    body = text;
    return error_of([&] { download("org/name", {}, {}); }).first;
  };
  const std::string sha = "\"sha\":\"" + commit + "\"";
  for (const char* name : {"../evil", "/tmp/evil", "a/../../evil", "a//b", "", "."}) {
    CHECK(code("{" + sha + ",\"siblings\":[{\"rfilename\":\"" + name + "\"}]}") == "bad_file_name");
  }
  CHECK(code("{" + sha + ",\"siblings\":[{\"rfilename\":\"a\\u0000b\"}]}") == "bad_file_name");
  CHECK(code("{\"sha\":\"../x\",\"siblings\":[]}") == "network");
  CHECK(code("[]") == "network");
  CHECK(code("{}") == "network");
  CHECK(code("not json") == "network");
  CHECK(code(std::string(100'000, '[')) != "no error");
  CHECK(!fs::exists(cache));
  // Without a list of siblings the tree is asked.
  body = "{" + sha + "}";
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.target.find("/revision/") != std::string::npos) response.body = body;
  });
  CHECK(download("org/name", {}, {}).files == std::vector<std::string>{"config.json", "w"});
}

TEST_CASE_METHOD(FaultFixture, "redirects") {
  std::string target;
  int hops = 0, limit = 0;
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.method != "GET" || !request.target.ends_with("w") || request.cdn) return;
    if (limit && hops++ < limit)
      response = {.status = 302, .headers = {{"Location", request.target}}};
    else if (!target.empty())
      response = {.status = 302, .headers = {{"Location", target}}};
  });
  for (const char* hostile : {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:9/x", "http://"}) {
    target = hostile;
    CHECK(code() == "network");
  }
  target.clear();
  limit = 19;
  CHECK(fetch() == kBytes);
  hops = 0;
  limit = 21;
  CHECK(error_of([&] { fetch({.force_download = true}); }).first == "network");

  // A renamed repository answers by a relative redirect, which keeps the token.
  hub.clear_requests();
  hub.set_fault([&](const Request& request, Response& response) {
    if (request.target.starts_with("/org/old/")) {
      response = {.status = 307, .headers = {{"Location", "/org/name/" + request.target.substr(9)}}};
    }
  });
  CHECK(contents(*cached_file("org/old", "w", {.token = std::string("secret")})) == kBytes);
  for (const auto& request : hub.requests())
    CHECK(request.header("authorization") == (request.cdn ? "" : "Bearer secret"));
}

TEST_CASE_METHOD(FaultFixture, "what is no hub is not believed") {
  hub.set_fault(
      [](const Request&, Response& response) { response = {.body = "<html>log in to the hotel's network</html>"}; });
  const auto [code, text] = error_of([&] { fetch(); });
  CHECK(code == "network");
  CHECK_THAT(text, Contains("X-Repo-Commit"));
  hub.set_fault([](const Request&, Response& response) {
    response = {};
    for (int i = 0; i < 10; ++i) response.headers[concat("X-Filler-", i)] = std::string(50'000, 'x');
  });
  CHECK(error_of([&] { fetch(); }).first == "network");
}
