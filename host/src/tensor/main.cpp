#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include "backplane/base/strings.h"
#include "cli/doctor.h"
#include "cli/frame.h"
#include "cli/inspect.h"
#include "tensor/inspect_load.h"
#include "tensor/session.h"
#include "tensor/verbs.h"

namespace backplane::cli {
namespace {

void add_full_doctor(CLI::App& app) {
  add_doctor(app, [] {
    const double start = now();
    at::linear(at::ones({256, 1024}), at::ones({1024, 1024}));
    return std::vector<DoctorRow>{{"libtorch", TORCH_VERSION},
                                  {"kernels for", at::get_cpu_capability()},
                                  {"threads", std::to_string(at::get_num_threads())},
                                  {"first matrix product", concat(now() - start, " s")}};
  });
}

}  // namespace
}  // namespace backplane::cli

/// The command line's verbs that need tensors; `backplane` opens this library when it meets one of them.
extern "C" __attribute__((visibility("default"))) int backplane_run_verb(int argc, char** argv) {
  using namespace backplane::cli;
  return run_command_line(argc, argv, [](CLI::App& app) {
    add_embed(app);
    add_transcribe(app);
    add_inspect(app, load_for_inspect);
    add_run(app);
    add_chat(app);
    add_translate(app);
    add_summarize(app);
    add_tasks(app);
    add_bench(
        *app.add_subcommand("bench", "Measure loading, prompts, decoding; with the limit of this machine beside each"));
    add_full_doctor(app);
  });
}
