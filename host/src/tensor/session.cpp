#include "tensor/session.h"

#include <ATen/Parallel.h>

#include <chrono>
#include <iostream>

#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/host/plugin_host.h"

namespace backplane::cli {

void ModelArguments::add_to(CLI::App& app) {
  app.add_option("MODEL", model, "a model folder, a .gguf file, or the id of a hub repository")->required();
  app.add_option("--dtype", dtype, "float32 (default), bfloat16, float16, or auto: as the weights are stored");
  app.add_option("--revision", revision, "branch, tag or commit of a hub repository");
  app.add_option("--threads", threads, "threads to compute with (default: all cores)")->check(CLI::Range(1, 1024));
  app.add_flag("--trust-remote-code", trust_remote_code, "allow plugins that the repository brings");
  app.add_flag("--json", json, "machine-readable output");
  app.add_flag("--verbose", verbose, "say which plugins were opened, and how long loading took");
}

PretrainedOptions ModelArguments::options() const {
  PretrainedOptions options;
  if (!dtype.empty()) options.torch_dtype = dtype;
  if (revision) options.revision = *revision;
  if (trust_remote_code) options.trust_remote_code = true;
  return options;
}

Session open_session(AutoClass auto_class, const ModelArguments& arguments) {
  const double start = now();
  Session session;
  session.model = open_model(auto_class, arguments);
  session.tokenizer = AutoTokenizer::from_pretrained(arguments.model, arguments.options());
  session.load_seconds = now() - start;
  if (arguments.verbose)
    std::cerr << concat("model and tokenizer loaded in ", static_cast<int>(session.load_seconds * 1000), " ms\n");
  return session;
}

ModelPtr open_model(AutoClass auto_class, const ModelArguments& arguments) {
  if (arguments.threads > 0) at::set_num_threads(arguments.threads);
  ModelPtr model = model_from_pretrained(auto_class, arguments.model, arguments.options());
  if (arguments.verbose) {
    for (const auto& plugin : PluginHost::process().list()) {
      if (plugin.state == PluginState::loaded)
        std::cerr << "plugin " << plugin.manifest.id << ": opened " << plugin.path << "\n";
    }
  }
  return model;
}

std::vector<std::string> read_lines(const std::string& path) {
  auto lines = split(read_file(path, uint64_t{1} << 30), '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (auto& line : lines) {
    if (line.ends_with('\r')) line.pop_back();
  }
  return lines;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace backplane::cli
