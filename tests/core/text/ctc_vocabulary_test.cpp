#include "backplane/text/ctc_vocabulary.h"

#include <boost/filesystem.hpp>
#include <catch2/catch.hpp>
#include <fstream>

#include "backplane/base/error.h"

using namespace backplane;

namespace {

struct Folder {
  boost::filesystem::path path =
      boost::filesystem::temp_directory_path() / boost::filesystem::unique_path("ctc-%%%%%%%%");
  Folder() { boost::filesystem::create_directories(path); }
  ~Folder() { boost::filesystem::remove_all(path); }
  void write(const char* name, const char* text) const { std::ofstream((path / name).string()) << text; }
};

}  // namespace

TEST_CASE("repeats are one, blanks fall out, the delimiter is a space") {
  Folder folder;
  folder.write("vocab.json", R"({"<pad>": 0, "|": 1, "A": 2, "B": 3})");
  const auto written = CtcVocabulary::from_folder(folder.path.string()).decode({0, 2, 2, 0, 2, 1, 1, 3, 3, 0});
  CHECK(written.text == "AA B");
  REQUIRE(written.words.size() == 2);
  CHECK(written.words[0].text == "AA");
  CHECK(written.words[0].first == 1);
  CHECK(written.words[0].last == 5);
  CHECK(written.words[1].first == 7);
  CHECK(written.words[1].last == 9);
}

TEST_CASE("a vocabulary of several languages needs one of them") {
  Folder folder;
  folder.write("vocab.json", R"({"eng": {"<pad>": 0, "É": 1}})");
  CHECK_THROWS_AS(CtcVocabulary::from_folder(folder.path.string()), Error);
  folder.write("tokenizer_config.json",
               R"({"target_lang": "eng", "do_lower_case": true, "pad_token": {"content": "<pad>"}})");
  CHECK(CtcVocabulary::from_folder(folder.path.string()).decode({1, 0, 1}).text == "éé");
  CHECK_THROWS_AS(CtcVocabulary::from_folder("/nowhere"), Error);
}
