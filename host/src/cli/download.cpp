#include <signal.h>

#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/progress.h"
#include "backplane/host/settings.h"
#include "backplane/hub/hub.h"
#include "cli/verbs.h"

namespace backplane::cli {
namespace {

struct DownloadArguments {
  std::string model;
  std::vector<std::string> files;
  HubOptions options;
  bool json = false;
};

void run_download(const DownloadArguments& arguments) {
  // A limit on the size of files then is an error that says so, instead of the end of the process.
  ::signal(SIGXFSZ, SIG_IGN);
  use_hub_settings();
  ProgressBars progress;
  const Snapshot snapshot = download(arguments.model, arguments.files, arguments.options, &progress);
  if (arguments.json) {
    const Json commit = snapshot.commit.empty() ? Json(nullptr) : Json(snapshot.commit);
    std::cout << python_dumps({{"path", snapshot.path}, {"commit", commit}, {"files", snapshot.files}}) << std::endl;
  } else {
    std::cout << snapshot.path << std::endl;
  }
}

}  // namespace

void add_download(CLI::App& app) {
  auto* verb = app.add_subcommand("download", "Bring a repository, or some of its files, into the hub cache");
  auto arguments = std::make_shared<DownloadArguments>();
  verb->add_option("MODEL", arguments->model, "the id of a hub repository")->required();
  verb->add_option("FILE", arguments->files, "files of the repository; all where none is named");
  verb->add_option("--revision", arguments->options.revision, "branch, tag or commit");
  verb->add_flag("--force-download", arguments->options.force_download, "fetch what is in the cache already, too");
  verb->add_flag("--local-files-only", arguments->options.local_files_only,
                 "ask nobody; fail where the cache lacks a file");
  verb->add_flag("--json", arguments->json, "machine-readable output");
  verb->callback([arguments] { run_download(*arguments); });
}

}  // namespace backplane::cli
