#include <algorithm>
#include <boost/dll/shared_library.hpp>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "cli/frame.h"
#include "cli/inspect.h"
#include "cli/verbs.h"

namespace {

using namespace backplane;

struct TensorVerb {
  const char* name;
  const char* description;
};

// Verbs of the library that needs libtorch; it is opened for them alone, so that the others start in milliseconds.
// `bench` and `doctor` have a part on either side.
constexpr TensorVerb kTensorVerbs[] = {
    {"embed", "Turn texts into vectors with an encoder such as BERT"},
    {"transcribe", "Write down what is said in a sound file"},
    {"run", "Continue a prompt, streaming; the prompt is taken as it is"},
    {"chat", "Talk with a model through its chat template"},
    {"translate", "Translate texts with an encoder-decoder model"},
    {"summarize", "Summarize texts with an encoder-decoder model"},
    {"classify", "Sort a picture or a text into a model's classes"},
    {"fill-mask", "Fill the gap that [MASK] or <mask> leaves in a text"},
    {"detect", "Find objects in a picture"},
    {"segment", "Say what each pixel of a picture belongs to"},
    {"zero-shot", "Say which of some labels fits a picture best"},
};

bool needs_tensors(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  const auto has = [&](std::string_view word) { return std::find(argv + 2, argv + argc, word) != argv + argc; };
  if (verb == "inspect") return cli::inspect_needs_tensors(argc, argv);
  if (verb == "bench") return argc > 2 && std::string_view(argv[2]) != "tokenize";
  if (verb == "doctor") return !has("--quick") && !has("--help");
  return std::any_of(std::begin(kTensorVerbs), std::end(kTensorVerbs),
                     [&](const auto& entry) { return verb == entry.name; });
}

int run_tensor_verb(int argc, char** argv) {
  // Read by OpenMP when it is loaded: threads that wait for the next operation give the core away after a moment.
  ::setenv("GOMP_SPINCOUNT", "20000", 0);
  boost::dll::fs::error_code error;
  static boost::dll::shared_library library;
  library.load("libbackplane-host-tensor.so." BACKPLANE_SOVERSION, error,
               boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local |
                   boost::dll::load_mode::search_system_folders);
  if (error) {
    return cli::run_command_line(argc, argv, [&](CLI::App&) {
      throw Error(ErrorCode::missing_dependency,
                  concat("the part of Backplane that needs libtorch cannot be opened: ", error.message()));
    });
  }
  return library.get<int(int, char**)>("backplane_run_verb")(argc, argv);
}

}  // namespace

int main(int argc, char** argv) {
  const int code =
      needs_tensors(argc, argv) ? run_tensor_verb(argc, argv) : cli::run_command_line(argc, argv, [](CLI::App& app) {
        cli::add_verbs(app);
        for (const auto& verb : kTensorVerbs) app.add_subcommand(verb.name, verb.description);  // for --help
      });
  std::fflush(nullptr);
  // Plugins and libtorch stay mapped for good; running their static destructors is where such processes crash.
  std::_Exit(code);
}
