#include "cli/verbs.h"

#include "cli/doctor.h"
#include "cli/inspect.h"

namespace backplane::cli {

void add_verbs(CLI::App& app) {
  add_inspect(app);
  add_tokenize(app);
  add_download(app);
  add_cache(app);
  add_plugins(app);
  auto* bench =
      app.add_subcommand("bench", "Measure loading, prompts, decoding; with the limit of this machine beside each");
  bench->require_subcommand(1);
  add_bench_tokenize(*bench);
  add_doctor(app, {});
}

}  // namespace backplane::cli
