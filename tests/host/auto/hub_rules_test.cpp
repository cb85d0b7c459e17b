#include "host/auto/auto_fixture.h"

using namespace auto_test;

namespace {

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

// A cache as Python's huggingface_hub leaves it, with one repository.
Folder cache_of(const std::string& repo, const Files& files) {
  std::string name = repo;
  name.replace(name.find('/'), 1, "--");
  const std::string root = "models--" + name + "/";
  Files all = {{root + "refs/main", kCommit}};
  for (const auto& [file, text] : files) all.emplace_back(root + "snapshots/" + kCommit + "/" + file, text);
  return Folder(all);
}

std::string offline(const Folder& cache, const std::string& more = "") {
  return concat("{\"cache_dir\":\"", cache.path(), "\",\"local_files_only\":true", more, "}");
}

}  // namespace

TEST_CASE("AC-21, AC-72: a cached repository is read offline, and its commit is taken down") {
  install();
  const auto cache = cache_of("org/thing", {{"config.json", R"({"model_type":"mine","width":3})"}});
  const auto answer = ask("AutoConfig", "org/thing", offline(cache));
  CHECK(answer.code() == "");
  CHECK(answer.json["config"]["width"] == 3);
  CHECK(answer.text("commit_hash") == kCommit);
  CHECK(answer.text("name_or_path") == "org/thing");
  CHECK(ask("AutoConfig", "org/thing", offline(cache, concat(",\"revision\":\"", kCommit, "\""))).text("commit_hash") == kCommit);
  CHECK(ask("AutoConfig", "org/thing", offline(cache, R"(,"revision":"0123456")")).code() == "offline");
}

TEST_CASE("AC-27: subfolder in a repository") {
  const auto cache = cache_of("org/thing", {{"a/config.json", R"({"model_type":"bert"})"}});
  CHECK(ask("", "org/thing", offline(cache, R"(,"subfolder":"a")")).text("config_class") == "BertConfig");
  CHECK(ask("", "org/thing", offline(cache, R"(,"subfolder":"../..")")).code() == "bad_file_name");
}

TEST_CASE("AC-72: what is not in the cache is offline") {
  const auto cache = cache_of("org/thing", {});
  CHECK(ask("AutoModel", "org/other", offline(cache)).code() == "offline");
  CHECK(ask("AutoTokenizer", "org/other", offline(cache)).code() == "offline");
}

TEST_CASE("AC-119: tokenizers of a cached repository") {
  const auto cache = cache_of("org/thing", {{"tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer"})"}});
  const auto answer = ask("AutoTokenizer", "org/thing", offline(cache));
  CHECK(answer.text("class") == "BertTokenizerFast");
  CHECK(answer.text("commit_hash") == kCommit);
}

TEST_CASE("AC-03: a folder shadows a repository of the same spelling, even an empty one") {
  const Folder folder(Files{}, "org/bert-x");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(std::filesystem::path(folder.path()).parent_path().parent_path());
  const auto answer = ask("", "org/bert-x");
  std::filesystem::current_path(before);
  CHECK(answer.text("config_class") == "BertConfig");
}
