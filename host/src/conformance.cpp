#include "backplane/host/conformance.h"

#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <boost/filesystem.hpp>
#include <cstdlib>
#include <functional>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/host/library.h"
#include "backplane/host/probe.h"
#include "backplane/host/settings.h"
#include "backplane/registry/elf_note.h"
#include "backplane/registry/fingerprint.h"
#include "elf_tables.h"

namespace backplane {
namespace {

// What a plugin may need without a word: Backplane, libtorch, and the compiler's and the C library's own.
constexpr std::string_view kUsualLibraries[] = {
    "libbackplane-", "libtorch", "libc10",  "libgomp.so",    "libstdc++.so", "libgcc_s.so", "libasan.so",
    "libubsan.so",   "libc.so",  "libm.so", "libpthread.so", "libdl.so",     "ld-linux"};
// Calls that a neural network has no use for.
constexpr std::string_view kUnusualCalls[] = {"dlopen", "execve", "execvp", "execv",  "execl",  "posix_spawn",
                                              "system", "popen",  "fork",   "socket", "connect"};

std::string demangled(const std::string& symbol) {
  int status = 0;
  char* name = abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status);
  std::string text = status == 0 && name != nullptr ? name : symbol;
  std::free(name);
  return text;
}

std::string shortened(std::vector<std::string> names, size_t most = 5) {
  const size_t count = names.size();
  if (count > most) names.resize(most);
  return concat(join(names), count > most ? concat(" and ", count - most, " more") : "");
}

class Checks {
 public:
  // `body` returns what is wrong, empty where nothing is.
  void add(const std::string& name, const std::function<std::string()>& body,
           CheckStatus otherwise = CheckStatus::fail) {
    CheckResult result{name, CheckStatus::pass, ""};
    try {
      result.detail = body();
      if (!result.detail.empty()) result.status = otherwise;
    } catch (const Error& error) {
      result = {name, CheckStatus::fail, error.what()};
    }
    results.push_back(std::move(result));
  }

  std::vector<CheckResult> results;
};

}  // namespace

std::string_view to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::pass:
      return "pass";
    case CheckStatus::fail:
      return "fail";
    case CheckStatus::warn:
      return "warn";
    case CheckStatus::skip:
      return "skip";
  }
  return "";
}

std::vector<std::string> missing_symbols(const std::string& path) {
  const ElfTables tables = read_elf_tables(path);
  open_tensor_runtime();  // what the plugin names is then found by name
  std::vector<void*> libraries;
  for (const auto& name : tables.needed) {
    if (void* library = ::dlopen(name.c_str(), RTLD_LAZY | RTLD_LOCAL)) libraries.push_back(library);
  }
  std::vector<std::string> missing;
  for (const auto& symbol : tables.undefined) {
    const bool found = std::any_of(libraries.begin(), libraries.end(),
                                   [&](void* library) { return ::dlsym(library, symbol.c_str()); });
    if (!found) missing.push_back(demangled(symbol));
  }
  return missing;
}

std::vector<CheckResult> check_plugin(const std::string& given, int level) {
  const std::string path = boost::filesystem::canonical(given).string();
  Checks checks;
  Manifest manifest;
  checks.add("manifest", [&] {
    manifest = parse_manifest(read_note(path), path);
    return std::string();
  });
  if (checks.results.back().status != CheckStatus::pass) return checks.results;
  checks.add("provides something", [&] { return manifest.model_types().empty() ? "registers nothing" : ""; });
  const bool built_in = std::string_view(path).starts_with(built_in_plugin_folder() + "/");
  checks.add(
      "id",
      [&] {
        const bool own = manifest.id.find('.') == std::string::npos;
        return own && !built_in ? "ids without a dot are Backplane's own; use a reversed domain name" : "";
      },
      CheckStatus::warn);
  checks.add("fingerprint", [&] { return fingerprint_difference(manifest.fingerprint, host_fingerprint()); });

  ElfTables tables;
  checks.add("ELF tables", [&] {
    tables = read_elf_tables(path);
    return std::string();
  });
  if (checks.results.back().status != CheckStatus::pass) return checks.results;
  checks.add("exports its entry alone", [&] {
    auto others = tables.exported;
    std::erase(others, "backplane_plugin_entry");
    if (others.size() == tables.exported.size()) return std::string("backplane_plugin_entry is not exported");
    return others.empty() ? "" : "also exports " + shortened(others);
  });
  checks.add(
      "needs the usual libraries",
      [&] {
        auto unusual = tables.needed;
        std::erase_if(unusual, [](const std::string& name) {
          return std::any_of(std::begin(kUsualLibraries), std::end(kUsualLibraries),
                             [&](auto usual) { return name.starts_with(usual); });
        });
        return unusual.empty() ? "" : "needs " + shortened(unusual);
      },
      CheckStatus::warn);
  checks.add("search paths", [&] {
    auto fixed = tables.search_paths;
    std::erase_if(fixed, [](const std::string& folder) { return folder.starts_with("$ORIGIN"); });
    return fixed.empty() ? "" : "libraries would be looked for in " + shortened(fixed);
  });
  checks.add("no executable stack", [&] { return tables.executable_stack ? "its stack would be executable" : ""; });
  checks.add("no text relocations",
             [&] { return tables.text_relocations ? "code would be written to when it is opened" : ""; });
  checks.add("bound at once, never unloaded", [&] {
    return tables.bound_at_once && tables.never_unloaded
               ? ""
               : "not linked with -z now -z nodelete; use backplane_add_plugin()";
  });
  checks.add(
      "calls",
      [&] {
        std::vector<std::string> unusual;
        for (const auto& symbol : tables.undefined) {
          if (std::find(std::begin(kUnusualCalls), std::end(kUnusualCalls), symbol) != std::end(kUnusualCalls))
            unusual.push_back(symbol);
        }
        return unusual.empty() ? "" : "calls " + shortened(unusual);
      },
      CheckStatus::warn);
  checks.add("undefined symbols", [&] {
    const auto missing = missing_symbols(path);
    return missing.empty()
               ? ""
               : concat("this host's libraries lack ", shortened(missing), "; rebuild the plugin with this host's SDK");
  });
  const bool sound = std::none_of(checks.results.begin(), checks.results.end(),
                                  [](const auto& result) { return result.status == CheckStatus::fail; });
  if (level < 2) return checks.results;
  for (const auto& [name, mode] : {std::pair("registers what the manifest says", ProbeMode::once),
                                   {"registers twice the same", ProbeMode::twice},
                                   {"survives a host of another ABI", ProbeMode::strange_host},
                                   {"configurations read back what they write", ProbeMode::configs}}) {
    if (sound) {
      checks.add(name, [&, mode = mode] { return probe_plugin(path, manifest, {.mode = mode}); });
    } else {
      checks.results.push_back({name, CheckStatus::skip, "not opened: it failed before"});
    }
  }
  return checks.results;
}

}  // namespace backplane
