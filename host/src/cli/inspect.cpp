#include "cli/inspect.h"

#include <algorithm>
#include <iostream>

#include "backplane/base/json.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/registry/auto_class.h"
#include "cli/frame.h"

namespace backplane::cli {
namespace {

struct Arguments {
  std::vector<std::string> models;
  std::string auto_name;
  bool load = false;
  std::vector<std::string> settings;
  std::optional<std::string> revision, code_revision, subfolder;
  std::optional<bool> use_fast;
  bool local_files_only = false, force_download = false, trust_remote_code = false, json = false;

  PretrainedOptions options() const {
    PretrainedOptions options;
    for (const auto& setting : settings) {
      const size_t equals = setting.find('=');
      if (equals == std::string::npos || equals == 0) throw Error(ErrorCode::usage, concat("--set ", setting, ": expected key=value"));
      set_option(options, setting.substr(0, equals), parse_value(setting.substr(equals + 1)));
    }
    if (revision) options.revision = *revision;
    if (code_revision) options.code_revision = *code_revision;
    if (subfolder) options.subfolder = *subfolder;
    if (use_fast) options.use_fast = *use_fast;
    if (local_files_only) options.local_files_only = true;
    if (force_download) options.force_download = true;
    if (trust_remote_code) options.trust_remote_code = true;
    return options;
  }

 private:
  // JSON where it parses as JSON, else text.
  static Value parse_value(const std::string& text) {
    try {
      return to_value(parse_json(text, "--set"));
    } catch (const Error&) {
      return text;
    }
  }
};

void print_text(const Json& object) {
  for (auto it = object.begin(); it != object.end(); ++it) {
    if (it.value().is_null() || it.key() == "warnings") continue;
    if (it.key() == "classes") {
      std::cout << "classes\n";
      for (auto entry = it.value().begin(); entry != it.value().end(); ++entry) {
        if (!entry.value().is_null()) std::cout << "  " << entry.key() << ": " << entry.value().get<std::string>() << "\n";
      }
    } else if (it.value().is_object()) {
      std::cout << it.key() << "\n";
      for (auto entry = it.value().begin(); entry != it.value().end(); ++entry) {
        std::cout << "  " << entry.key() << ": " << python_dumps(entry.value(), -1, false) << "\n";
      }
    } else {
      std::cout << it.key() << ": " << (it.value().is_string() ? it.value().get<std::string>() : python_dumps(it.value(), -1, false)) << "\n";
    }
  }
}

void run(const Arguments& arguments, const InspectModelLoader& load_model) {
  InspectRequest request;
  request.options = arguments.options();
  if (!arguments.auto_name.empty()) request.auto_name = arguments.auto_name;
  request.load = arguments.load;
  bool failed = false;
  for (const auto& model : arguments.models) {
    request.model = model;
    const Json result = to_json(Value(inspect(request, load_model)));
    failed = failed || result.contains("error");
    if (arguments.json) {
      std::cout << python_dumps(result) << std::endl;
    } else {
      print_text(result);
      std::cout << std::endl;
    }
  }
  if (failed) throw Failed();
}

}  // namespace

void add_inspect(CLI::App& app, InspectModelLoader load_model) {
  auto* verb = app.add_subcommand("inspect", "Show what an auto class would do with a model: class, configuration, plugin; needs no weights");
  auto arguments = std::make_shared<Arguments>();
  verb->add_option("MODEL", arguments->models, "model folders, or ids of hub repositories")->required();
  verb->add_option("--auto", arguments->auto_name, "one auto class, as AutoModelForCausalLM; else all of them")->option_text("NAME");
  verb->add_flag("--load", arguments->load, "build the object from its files");
  verb->add_option("--set", arguments->settings, "any argument of from_pretrained; the value is JSON, else text")
      ->option_text("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb->add_option("--revision", arguments->revision, "branch, tag or commit");
  verb->add_option("--code-revision", arguments->code_revision, "the same for code in another repository");
  verb->add_option("--subfolder", arguments->subfolder, "where in the model the files are");
  verb->add_option("--use-fast", arguments->use_fast, "fast tokenizer or image processor")->option_text("true|false");
  verb->add_flag("--local-files-only", arguments->local_files_only, "ask no hub");
  verb->add_flag("--force-download", arguments->force_download, "fetch anew what the cache has");
  verb->add_flag("--trust-remote-code", arguments->trust_remote_code, "allow plugins that the repository brings");
  verb->add_flag("--json", arguments->json, "machine-readable output, an object a line");
  verb->callback([arguments, load_model] { run(*arguments, load_model); });
}

bool inspect_needs_tensors(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (words.empty() || words.front() != "inspect" || std::find(words.begin(), words.end(), "--load") == words.end()) return false;
  std::string_view name;
  for (size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "--auto" && i + 1 < words.size()) name = words[i + 1];
    if (words[i].starts_with("--auto=")) name = words[i].substr(7);
  }
  for (const auto& without : {Auto::Config, Auto::Tokenizer}) {
    if (name == without.name) return false;
  }
  return !name.empty();
}

}  // namespace backplane::cli
