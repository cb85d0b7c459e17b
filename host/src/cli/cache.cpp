#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/progress.h"
#include "backplane/base/strings.h"
#include "backplane/host/settings.h"
#include "backplane/hub/hub.h"
#include "cli/verbs.h"

namespace backplane::cli {
namespace {

struct CacheArguments {
  std::optional<std::string> model;
  bool yes = false;
  bool json = false;
};

HubCache open_cache() {
  use_hub_settings();
  return HubCache();
}

void run_list(const CacheArguments& arguments) {
  const HubCache cache = open_cache();
  uint64_t total = 0;
  for (const auto& repo : cache.list()) {
    total += repo.size + repo.partial_size;
    Json revisions = Json::array();
    std::vector<std::string> refs;
    size_t files = 0;
    for (const auto& revision : repo.revisions) {
      revisions.push_back({{"commit", revision.commit}, {"refs", revision.refs}, {"files", revision.files}});
      refs.insert(refs.end(), revision.refs.begin(), revision.refs.end());
      files += revision.files.size();
    }
    if (arguments.json) {
      std::cout << python_dumps({{"repo", repo.id},
                                 {"path", repo.path},
                                 {"size", repo.size},
                                 {"partial_size", repo.partial_size},
                                 {"revisions", revisions}})
                << std::endl;
    } else {
      std::printf("%10s  %4zu files  %-40s %s%s\n", format_bytes(double(repo.size)).c_str(), files, repo.id.c_str(),
                  join(refs).c_str(),
                  repo.partial_size
                      ? concat("  (and ", format_bytes(double(repo.partial_size)), " of unfinished downloads)").c_str()
                      : "");
    }
  }
  if (!arguments.json) std::printf("%10s  in %s\n", format_bytes(double(total)).c_str(), cache.folder().c_str());
}

void run_verify(const CacheArguments& arguments) {
  size_t count = 0;
  std::vector<std::string> bad, repos;
  for (const auto& check : open_cache().verify(arguments.model)) {
    ++count;
    const bool failed = check.verdict == HubCache::Verdict::damaged || check.verdict == HubCache::Verdict::missing;
    if (failed) {
      bad.push_back(concat(check.repo, ": ", check.file, " (", to_string(check.verdict), ")"));
      if (std::find(repos.begin(), repos.end(), check.repo) == repos.end()) repos.push_back(check.repo);
    }
    if (arguments.json) {
      std::cout << python_dumps({{"repo", check.repo},
                                 {"file", check.file},
                                 {"path", check.path},
                                 {"status", std::string(to_string(check.verdict))}})
                << std::endl;
    } else if (failed) {
      std::printf("%-8s %s: %s\n         %s\n", std::string(to_string(check.verdict)).c_str(), check.repo.c_str(),
                  check.file.c_str(), check.path.c_str());
    }
  }
  if (!bad.empty()) {
    throw Error(ErrorCode::bad_download,
                concat(bad.size(), " of ", count, " files in the cache are not what their names say: ", join(bad),
                       "; mend with `backplane download ", repos.front(), " --force-download`"));
  }
  if (!arguments.json) std::printf("%zu files are what their names say\n", count);
}

bool agreed(const std::string& question) {
  if (!::isatty(STDIN_FILENO)) return true;
  std::cerr << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

void run_remove(const CacheArguments& arguments) {
  const HubCache cache = open_cache();
  if (!arguments.yes && !agreed(concat("remove ", *arguments.model, " from ", cache.folder(), "?"))) {
    std::cerr << "nothing was removed" << std::endl;
    return;
  }
  const uint64_t bytes = cache.remove(*arguments.model);
  if (arguments.json) {
    std::cout << python_dumps({{"repo", *arguments.model}, {"freed", bytes}}) << std::endl;
  } else {
    std::printf("%s freed\n", format_bytes(double(bytes)).c_str());
  }
}

}  // namespace

void add_cache(CLI::App& app) {
  auto* cache = app.add_subcommand("cache", "The hub cache, which Python shares: list, verify, remove");
  cache->require_subcommand(1);
  const auto add = [cache](const char* name, const char* description, void (*run)(const CacheArguments&)) {
    auto* verb = cache->add_subcommand(name, description);
    auto arguments = std::make_shared<CacheArguments>();
    verb->add_flag("--json", arguments->json, "machine-readable output");
    verb->callback([arguments, run] { run(*arguments); });
    return std::pair(verb, arguments);
  };
  add("list", "Repositories, their sizes and revisions", run_list);
  const auto [verify, verify_arguments] =
      add("verify", "Compare every file's bytes with the hash that is its name", run_verify);
  verify->add_option("MODEL", verify_arguments->model, "the id of a repository; all where none is named");
  const auto [remove, remove_arguments] = add("remove", "Delete a repository from the cache", run_remove);
  remove->add_option("MODEL", remove_arguments->model, "the id of a repository")->required();
  remove->add_flag("--yes", remove_arguments->yes, "do not ask");
}

}  // namespace backplane::cli
