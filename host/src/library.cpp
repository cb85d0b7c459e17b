#include "backplane/host/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <boost/dll/shared_library.hpp>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"
#include "backplane/registry/fingerprint.h"
#include "backplane/registry/plugin_abi.h"
#include "elf_tables.h"

namespace backplane {
namespace {

std::atomic<size_t> g_opened = 0;

std::string_view view(const backplane_string& text) { return {text.data, text.size}; }

// Never closed: objects of a plugin outlive every scope of the host, and libtorch does not survive the unloading of
// code that it has registered.
boost::dll::shared_library& open_forever(const std::string& path) {
  static auto& libraries = *new std::vector<boost::dll::shared_library>;
  try {
    libraries.emplace_back(path, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
  } catch (const std::exception& error) {
    std::string_view reason = error.what();  // "… (dlerror system message: <path>: undefined symbol: x): …"
    constexpr std::string_view kMark = "dlerror system message: ";
    if (const size_t at = reason.find(kMark); at != std::string_view::npos) {
      reason.remove_prefix(at + kMark.size());
      reason = reason.substr(0, reason.rfind(')'));
    }
    if (reason.starts_with(path)) reason.remove_prefix(std::min(path.size() + 2, reason.size()));
    throw Error(ErrorCode::bad_plugin, concat(path, ": cannot be opened: ", reason));
  }
  ++g_opened;
  return libraries.back();
}

struct Opened {
  const backplane_plugin_v1* plugin;
  Registration registration;
};

Opened open_and_register(const std::string& path, const Manifest* manifest) {
  std::string reason;
  const backplane_host_v1 host = {sizeof(backplane_host_v1),
                                  BACKPLANE_ABI_VERSION,
                                  {host_fingerprint().data(), host_fingerprint().size()},
                                  [](void* context, const char* message, uint64_t size) {
                                    static_cast<std::string*>(context)->assign(message, size);
                                  },
                                  &reason,
                                  {}};
  const auto refuse = [&](ErrorCode code, const auto&... why) { throw Error(code, concat(path, ": ", why...)); };

  auto& library = open_forever(path);
  if (!library.has(BACKPLANE_ENTRY_SYMBOL)) refuse(ErrorCode::bad_plugin, "exports no ", BACKPLANE_ENTRY_SYMBOL);
  auto* entry = library.get<const backplane_plugin_v1*(const backplane_host_v1*)>(BACKPLANE_ENTRY_SYMBOL);
  Opened opened{};
  int32_t status = 0;
  try {
    opened.plugin = entry(&host);
    if (opened.plugin == nullptr) refuse(ErrorCode::bad_plugin, "its entry returned no descriptor");
    const auto& plugin = *opened.plugin;
    if (plugin.abi_version != BACKPLANE_ABI_VERSION) {
      refuse(ErrorCode::incompatible_plugin, "plugin ABI ", plugin.abi_version, ", this host has ",
             BACKPLANE_ABI_VERSION, "; rebuild the plugin with this host's SDK");
    }
    if (plugin.struct_size < sizeof(backplane_plugin_v1) || plugin.build == nullptr ||
        plugin.build->struct_size < sizeof(backplane_build_info) || plugin.register_plugin == nullptr) {
      refuse(ErrorCode::bad_plugin, "its descriptor is incomplete");
    }
    const std::string difference = fingerprint_difference(view(plugin.fingerprint), host_fingerprint());
    if (!difference.empty()) {
      refuse(ErrorCode::incompatible_plugin, "built for another host (", difference,
             "); rebuild the plugin with this host's SDK");
    }
    if (manifest != nullptr && view(plugin.build->id) != manifest->id) {
      refuse(ErrorCode::bad_plugin, "its manifest has the id '", manifest->id, "', its code '", view(plugin.build->id),
             "'");
    }
    status = plugin.register_plugin(&host, &opened.registration);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    refuse(ErrorCode::plugin_failed, "an exception left its entry: ", error.what());
  } catch (...) {
    refuse(ErrorCode::plugin_failed, "an exception left its entry");
  }
  if (status != 0)
    refuse(ErrorCode::plugin_failed, "failed to register: ", reason.empty() ? "no reason given" : reason);
  return opened;
}

}  // namespace

size_t opened_plugins() { return g_opened; }

// A plugin names libbackplane-tensor and libtorch as needed and carries no path to them: opened here first, from beside
// this library, they are found by name, and there is one copy in the process.
bool open_tensor_runtime() { return ::dlopen(BACKPLANE_TENSOR_SONAME, RTLD_LAZY | RTLD_LOCAL) != nullptr; }

namespace {

// For a library whose note is still empty.
void open_needed_runtime(const std::string& path) {
  const auto needed = read_elf_tables(path).needed;
  if (std::find(needed.begin(), needed.end(), BACKPLANE_TENSOR_SONAME) != needed.end()) open_tensor_runtime();
}

}  // namespace

Registration open_plugin(const std::string& path, const Manifest& manifest) {
  if (uses_torch(manifest.fingerprint) && !open_tensor_runtime()) {
    throw Error(ErrorCode::missing_dependency, concat(path, ": needs libtorch, which cannot be opened: ", ::dlerror()));
  }
  Registration registration = open_and_register(path, &manifest).registration;
  Manifest actual;
  actual.set_provides(registration);
  if (!actual.provides_the_same(manifest)) {
    throw Error(ErrorCode::bad_plugin,
                concat(path, ": registers something else than its manifest says; rebuild the plugin"));
  }
  return registration;
}

InspectedPlugin inspect_plugin(const std::string& path) {
  open_needed_runtime(path);
  Opened opened = open_and_register(path, nullptr);
  InspectedPlugin inspected;
  inspected.manifest.id = view(opened.plugin->build->id);
  inspected.manifest.version = view(opened.plugin->build->version);
  inspected.manifest.license = view(opened.plugin->build->license);
  inspected.manifest.fingerprint = view(opened.plugin->fingerprint);
  inspected.manifest.set_provides(opened.registration);
  inspected.registration = std::move(opened.registration);
  return inspected;
}

void call_entry_as_stranger(const std::string& path) {
  open_needed_runtime(path);
  backplane_host_v1 host{};
  host.struct_size = 2 * sizeof(uint32_t);
  host.abi_version = BACKPLANE_ABI_VERSION + 41;
  open_forever(path).get<const backplane_plugin_v1*(const backplane_host_v1*)>(BACKPLANE_ENTRY_SYMBOL)(&host);
}

}  // namespace backplane
