#include <algorithm>
#include <cstdio>
#include <iostream>

#include "backplane/base/digest.h"
#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/host/conformance.h"
#include "backplane/host/plugin_host.h"
#include "backplane/host/probe.h"
#include "backplane/registry/known_models.h"
#include "backplane/registry/plugin_source.h"
#include "cli/new_plugin.h"
#include "cli/verbs.h"

namespace backplane::cli {
namespace {

struct PluginArguments {
  std::vector<std::string> plugins;
  std::string trust;
  std::string subject;
  std::string lock_file = "backplane.lock";
  std::string folder;
  std::string like;
  int level = 2;
  bool known = false;
  bool json = false;

  PluginHost& host() const {
    SettingsArguments arguments{plugins, trust_level(trust)};
    PluginHost::process().discover(load_settings(arguments));
    return PluginHost::process();
  }
};

Json to_list(const PluginRecord& record) {
  return {{"id", record.manifest.id},
          {"version", record.manifest.version},
          {"model_types", record.manifest.model_types()},
          {"path", record.path},
          {"origin", record.origin},
          {"built_in", record.built_in},
          {"state", std::string(to_string(record.state))},
          {"reason", record.reason.empty() ? Json() : Json(record.reason)},
          {"conflicts", record.conflicts}};
}

void print(const Json& json) { std::cout << python_dumps(json) << "\n"; }

// How much of the reference's table is served: for each model type, the classes of all model auto classes.
void run_list_known(const PluginArguments& arguments) {
  arguments.host().list();
  const Registry& registry = Registry::process();
  size_t types = 0, served_types = 0, classes = 0, served_classes = 0;
  for (const auto& known : KnownModels::get().all()) {
    if (known.config_class.empty()) continue;  // tokenizers only
    const std::string type(known.model_type);
    const auto config = registry.config(type);
    std::vector<std::string> served, missing;
    for (const auto auto_class : KnownModels::auto_classes()) {
      std::vector<std::string> provided;
      for (const auto& entry : registry.models(auto_class, type)) provided.push_back(entry.class_name);
      for (const auto name : known.models(auto_class)) {
        const bool has = std::find(provided.begin(), provided.end(), name) != provided.end();
        auto& list = has ? served : missing;
        if (std::find(list.begin(), list.end(), name) == list.end()) list.emplace_back(name);
      }
    }
    ++types;
    served_types += config.has_value();
    classes += served.size() + missing.size();
    served_classes += served.size();
    const std::string provider = config ? config->provider->id : "";
    if (arguments.json) {
      print({{"model_type", type},
             {"config_class", std::string(known.config_class)},
             {"provider", config ? Json(provider) : Json()},
             {"classes", served},
             {"missing", missing}});
    } else {
      std::printf("%-28s %-20s %3zu of %3zu classes%s%s\n", type.c_str(), config ? provider.c_str() : "-",
                  served.size(), served.size() + missing.size(), config && !missing.empty() ? "; missing " : "",
                  config ? join(missing).c_str() : "");
    }
  }
  if (!arguments.json) {
    std::printf("%zu of %zu model types, %zu of %zu classes\n", served_types, types, served_classes, classes);
  }
  std::cout << std::flush;
}

void run_list(const PluginArguments& arguments) {
  if (arguments.known) return run_list_known(arguments);
  auto& host = arguments.host();
  const auto records = host.list();
  for (const auto& record : records) {
    if (arguments.json) {
      print(to_list(record));
      continue;
    }
    const auto& manifest = record.manifest;
    std::printf("%-12s %-24s %-8s %s\n", std::string(to_string(record.state)).c_str(),
                manifest.id.empty() ? record.path.c_str() : manifest.id.c_str(), manifest.version.c_str(),
                join(manifest.model_types()).c_str());
    if (!record.reason.empty()) std::printf("%-12s   %s\n", "", record.reason.c_str());
    for (const auto& conflict : record.conflicts) {
      if (conflict != record.reason) std::printf("%-12s   %s\n", "", conflict.c_str());
    }
  }
  if (!arguments.json) std::printf("searched: %s\n", join(host.searched()).c_str());
  std::cout << std::flush;
}

// By id, or by the path of the library.
PluginRecord find_plugin(PluginHost& host, const std::string& subject) {
  std::vector<std::string> ids;
  for (const auto& record : host.list()) {
    if (record.manifest.id == subject || record.path == subject) return record;
    ids.push_back(record.manifest.id);
  }
  const auto near = close_matches(subject, ids);
  throw Error(ErrorCode::plugin_not_installed,
              concat("no plugin '", subject, "' is installed",
                     near.empty() ? "" : "; did you mean '" + join(near, "' or '") + "'",
                     "; searched: ", join(host.searched())));
}

void run_info(const PluginArguments& arguments) {
  const auto record = find_plugin(arguments.host(), arguments.subject);
  Json json = to_list(record);
  json["priority"] = record.priority;
  if (record.state != PluginState::invalid) {
    const Json manifest = parse_json(to_json(record.manifest), record.path);
    for (const auto& [key, value] : manifest.items()) {
      if (key != "format") json[key] = value;
    }
  }
  if (arguments.json) {
    print(json);
    return;
  }
  const auto& manifest = record.manifest;
  std::printf(
      "id           %s\nversion      %s\nlicense      %s\nsource       %s\npath         %s\nfound by     %s%s\n",
      manifest.id.c_str(), manifest.version.c_str(), manifest.license.c_str(), manifest.source.c_str(),
      record.path.c_str(), record.origin.c_str(), record.built_in ? ", built in" : "");
  std::printf("state        %s%s%s\n", std::string(to_string(record.state)).c_str(), record.reason.empty() ? "" : ": ",
              record.reason.c_str());
  for (const auto& conflict : record.conflicts) std::printf("conflict     %s\n", conflict.c_str());
  for (const auto& line : split(trim(manifest.fingerprint), '\n')) std::printf("built for    %s\n", line.c_str());
  for (const auto& e : manifest.configs)
    std::printf("provides     AutoConfig  %s -> %s\n", e.model_type.c_str(), e.class_name.c_str());
  for (const auto& e : manifest.models) {
    std::printf("provides     %s  %s -> %s\n", e.auto_class.c_str(), e.model_type.c_str(), e.class_name.c_str());
  }
  for (const auto& e : manifest.preprocessors) {
    std::printf("provides     %s  %s -> %s%s%s\n", e.auto_class.c_str(), e.model_type.c_str(), e.slow.c_str(),
                e.slow.empty() || e.fast.empty() ? "" : ", ", e.fast.c_str());
  }
  for (const auto& e : manifest.ggufs)
    std::printf("provides     GGUF  %s -> %s\n", e.architecture.c_str(), e.model_type.c_str());
}

void run_why(const PluginArguments& arguments) {
  auto& host = arguments.host();
  const auto candidates = host.why(arguments.subject);
  for (const auto& candidate : candidates) {
    if (arguments.json) {
      Json json = to_list(candidate.plugin);
      json["chosen"] = candidate.chosen;
      json["reason"] = candidate.reason.empty() ? Json() : Json(candidate.reason);
      print(json);
    } else {
      std::printf("%s %-24s %s%s%s\n", candidate.chosen ? "->" : "  ", candidate.plugin.manifest.id.c_str(),
                  candidate.plugin.path.c_str(), candidate.reason.empty() ? "" : ": ", candidate.reason.c_str());
    }
  }
  std::cout << std::flush;
  if (candidates.empty()) loaded_config(arguments.subject);  // throws the reason
}

void run_lock(const PluginArguments& arguments) {
  Json plugins = Json::array();
  for (const auto& record : arguments.host().list()) {
    if (record.built_in || record.state == PluginState::invalid) continue;
    plugins.push_back({{"id", record.manifest.id},
                       {"version", record.manifest.version},
                       {"source", record.manifest.source},
                       {"path", record.path},
                       {"sha256", sha256_file(record.path)}});
  }
  write_file(arguments.lock_file, Json({{"format", 1}, {"plugins", plugins}}).dump(2) + "\n");
  if (arguments.json) {
    print({{"file", arguments.lock_file}, {"plugins", plugins}});
  } else {
    std::printf("%zu plugins in %s\n", plugins.size(), arguments.lock_file.c_str());
  }
}

void run_clear(const PluginArguments& arguments) {
  Verdicts verdicts(user_cache_folder());
  const std::string path = arguments.subject.empty() ? "" : find_plugin(arguments.host(), arguments.subject).path;
  const size_t cleared = verdicts.clear(path);
  if (arguments.json) {
    print({{"cleared", cleared}});
  } else {
    std::printf("%zu verdicts forgotten\n", cleared);
  }
}

void run_check(const PluginArguments& arguments) {
  const std::string path =
      file_exists(arguments.subject) ? arguments.subject : find_plugin(arguments.host(), arguments.subject).path;
  const auto results = check_plugin(path, arguments.level);
  Json tests = Json::array();
  size_t passed = 0, failed = 0;
  for (const auto& result : results) {
    passed += result.status == CheckStatus::pass;
    failed += result.status == CheckStatus::fail;
    const std::string status(to_string(result.status));
    tests.push_back(
        {{"name", result.name}, {"status", status}, {"detail", result.detail.empty() ? Json() : Json(result.detail)}});
    if (!arguments.json)
      std::printf("%-4s  %s%s%s\n", status.c_str(), result.name.c_str(), result.detail.empty() ? "" : ": ",
                  result.detail.c_str());
  }
  if (arguments.json) {
    print({{"plugin", path}, {"tests", tests}, {"passed", passed}, {"failed", failed}});
  } else {
    std::printf("%zu passed, %zu failed\n", passed, failed);
  }
  std::cout << std::flush;
  if (failed > 0)
    throw Error(ErrorCode::bad_plugin, concat(path, ": ", failed, " of ", results.size(), " checks failed"));
}

void run_new(const PluginArguments& arguments) {
  const auto files = new_plugin(arguments.subject, arguments.folder, arguments.like);
  if (arguments.json) {
    print({{"files", files}});
    return;
  }
  for (const auto& file : files) std::printf("%s\n", file.c_str());
}

}  // namespace

void add_plugins(CLI::App& app) {
  auto* verb = app.add_subcommand("plugins", "List the plugins, and say which of them serves a model type and why");
  verb->require_subcommand(1);
  auto arguments = std::make_shared<PluginArguments>();
  const auto add = [&](const char* name, const char* description, void (*run)(const PluginArguments&)) {
    auto* command = verb->add_subcommand(name, description);
    command->add_option("--plugin", arguments->plugins, "Libraries or folders to look at first");
    command->add_option("--trust", arguments->trust, "Tighten the trust level: deny, locked or allow")
        ->check(CLI::IsMember({"deny", "locked", "allow"}));
    command->add_flag("--json", arguments->json, "One JSON object a line on stdout");
    command->callback([arguments, run] { run(*arguments); });
    return command;
  };
  add("list", "Every library that was looked at, with its state", run_list)
      ->add_flag("--known", arguments->known,
                 "The model types of transformers instead, and which of their classes are served");
  add("info", "All that one plugin says about itself", run_info)
      ->add_option("PLUGIN", arguments->subject, "Its id or the path of its library")
      ->required();
  add("why", "The candidates for a model type, in their order, with the reason for each", run_why)
      ->add_option("MODEL_TYPE", arguments->subject)
      ->required();
  add("lock", "Write the sha256 of the plugins that are not built in; trust level 'locked' then opens these only",
      run_lock)
      ->add_option("--file", arguments->lock_file, "The lock file")
      ->capture_default_str();
  auto* check = add("check", "The conformance kit: reads the library, then opens it in child processes", run_check);
  check->add_option("PLUGIN", arguments->subject, "The path of its library, or its id")->required();
  check->add_option("--level", arguments->level, "1: without opening it; 2: all")
      ->check(CLI::Range(1, 2))
      ->capture_default_str();
  auto* scaffold = add("new", "Write a plugin project that configures, builds, passes its check and loads", run_new);
  scaffold->add_option("ID", arguments->subject, "A reversed domain name and the model type: org.me.foo")->required();
  scaffold->add_option("--like", arguments->like, "A built-in plugin whose sources to start from: llama");
  scaffold->add_option("--folder", arguments->folder, "Where to; default: the last part of the id");
  add("clear", "Forget what the probe found, for one plugin or all", run_clear)
      ->add_option("PLUGIN", arguments->subject, "Its id or the path of its library");
}

}  // namespace backplane::cli
