#include "backplane/base/files.h"

#include <boost/filesystem.hpp>
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "backplane/base/error.h"

using namespace backplane;
namespace fs = boost::filesystem;

namespace {
struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / fs::unique_path("backplane-%%%%%%%%");
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

ErrorCode code_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}
}  // namespace

TEST_CASE("files are written whole and read back, up to a cap") {
  TemporaryFolder folder;
  write_file(folder / "a", "hello");
  CHECK(read_file(folder / "a", 5) == "hello");
  CHECK(code_of([&] { read_file(folder / "a", 4); }) == ErrorCode::limit_exceeded);
  CHECK(code_of([&] { read_file(folder / "absent", 4); }) == ErrorCode::file_not_found);
  CHECK(code_of([&] { read_file(folder.path.string(), 4); }) == ErrorCode::io);
  CHECK(code_of([&] { write_file(folder / "no/such/folder", ""); }) == ErrorCode::file_not_found);
}

TEST_CASE("a mapped file shows the bytes and may be written without changing the file") {
  TemporaryFolder folder;
  write_file(folder / "a", "hello");
  auto map = MappedFile::open(folder / "a");
  REQUIRE(map->bytes().size() == 5);
  CHECK(std::memcmp(map->bytes().data(), "hello", 5) == 0);
  map->bytes()[0] = std::byte{'J'};
  CHECK(read_file(folder / "a", 5) == "hello");
  write_file(folder / "empty", "");
  CHECK(MappedFile::open(folder / "empty")->bytes().empty());
}

TEST_CASE("names from a model folder cannot leave it") {
  TemporaryFolder folder;
  fs::create_directories(folder.path / "model/sub");
  write_file(folder / "secret", "");
  write_file(folder / "model/sub/weights", "");
  fs::create_symlink(folder.path / "secret", folder.path / "model/link");
  const std::string model = folder / "model";
  CHECK(path_beneath(model, "sub/weights") == folder / "model/sub/weights");
  CHECK(path_beneath(model, "absent") == folder / "model/absent");
  for (const char* name : {"../secret", "/etc/passwd", "sub/../../secret", "", ".", "..", "a//b", "link"}) {
    CAPTURE(name);
    CHECK(code_of([&] { path_beneath(model, name); }) == ErrorCode::bad_file_name);
  }
  CHECK(code_of([&] { path_beneath(model, std::string_view("a\0b", 3)); }) == ErrorCode::bad_file_name);
}

TEST_CASE("links of the hub cache's snapshots into its blobs are allowed") {
  TemporaryFolder folder;
  fs::create_directories(folder.path / "repo/snapshots/0123");
  fs::create_directories(folder.path / "repo/blobs");
  write_file(folder / "repo/blobs/abc", "");
  fs::create_symlink("../../blobs/abc", folder.path / "repo/snapshots/0123/config.json");
  CHECK(path_beneath(folder / "repo/snapshots/0123", "config.json") == folder / "repo/snapshots/0123/config.json");
}
