#include "golden/auto.h"

#include <unistd.h>

#include <fstream>

#include "backplane/base/files.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/host/resolve_preprocessor.h"

namespace backplane::golden {
namespace {

namespace fs = std::filesystem;

// A folder whose path holds no name of a model type, but for its last part.
class CaseFolder {
 public:
  CaseFolder(const Json& files, const std::string& last) {
    static int count = 0;
    root_ = fs::temp_directory_path() / concat("0-", ::getpid(), "-", count++);
    path_ = last.empty() ? root_ : root_ / last;
    for (auto it = files.begin(); it != files.end(); ++it) {
      const fs::path file = path_ / it.key();
      fs::create_directories(file.parent_path());
      std::ofstream(file) << (it.value().is_string() ? it.value().get<std::string>() : python_dumps(it.value()));
    }
    fs::create_directories(path_);
  }
  ~CaseFolder() { fs::remove_all(root_); }
  CaseFolder(const CaseFolder&) = delete;
  CaseFolder& operator=(const CaseFolder&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path root_, path_;
};

bool reference_broke(const Json& error) {
  const auto type = error.at("type").get<std::string>(), message = error.at("message").get<std::string>();
  return type == "AttributeError" || type == "TypeError" || type == "KeyError" || message.starts_with("Could not find ");
}

std::string answer(const Json& one, const std::string& auto_name) {
  const CaseFolder folder(one.at("files"), one.value("folder", ""));
  PretrainedOptions options;
  const Json& kwargs = one.at("kwargs");
  for (auto it = kwargs.begin(); it != kwargs.end(); ++it) set_option(options, it.key(), to_value(it.value()));
  WarningCollector silent;
  try {
    return resolve_preprocessor(auto_name, folder.path(), options).class_name;
  } catch (const Error& error) {
    return concat("error ", to_string(error.code()), ": ", error.what());
  }
}

}  // namespace

std::vector<Verdict> judge_auto(const Json& fixture) {
  std::vector<Verdict> verdicts;
  const auto auto_name = fixture.at("class").get<std::string>();
  for (const auto& one : fixture.at("cases")) {
    Verdict verdict;
    verdict.name = python_dumps(one.at("files")) + " " + python_dumps(one.at("kwargs"));
    const std::string mine = answer(one, auto_name);
    const bool failed = mine.starts_with("error ");
    if (one.contains("class")) {
      verdict.passed = mine == one.at("class").get<std::string>();
      if (!verdict.passed) verdict.reason = concat(mine, " instead of ", one.at("class").get<std::string>());
    } else {
      verdict.passed = failed || reference_broke(one.at("error"));
      if (!verdict.passed) verdict.reason = concat(mine, " instead of the error ", one.at("error").at("message").get<std::string>());
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

bool is_auto_fixture(const fs::path& file) {
  return file.parent_path().filename() == "auto" && file.extension() == ".json" && file.filename().string().starts_with("Auto");
}

GoldenResult run_auto_fixture(const fs::path& file, const GoldenOptions&) {
  GoldenResult result;
  result.kind = "auto";
  result.name = file.stem().string();
  const auto verdicts = judge_auto(read_json_file(file.string()));
  result.cases = verdicts.size();
  for (const auto& verdict : verdicts) {
    if (verdict.passed) continue;
    if (result.failed_cases++ == 0) result.reason = verdict.name + ": " + verdict.reason;
  }
  result.passed = result.failed_cases == 0;
  return result;
}

}  // namespace backplane::golden
