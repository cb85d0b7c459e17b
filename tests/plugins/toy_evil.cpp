#include <sys/mman.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <vector>

#include "toy.h"

// A plugin that breaks the contract in the way that the environment names, and keeps it otherwise, so that the build can
// write its manifest.
namespace {

std::string_view evil() {
  const char* kind = std::getenv("BACKPLANE_EVIL");
  return kind == nullptr ? "" : kind;
}

[[maybe_unused]] const bool kStatic = [] {
  if (evil() == "throw in a static initialiser") throw std::runtime_error("from a static initialiser");
  if (evil() == "crash in a static initialiser") std::raise(SIGSEGV);
  return true;
}();

}  // namespace

namespace backplane::toy {

struct EvilConfig : ToyConfig {
  static constexpr const char* model_type = "evil";
};

void register_evil(PluginRegistrar& plugin) {
  if (evil() == "throw") throw std::runtime_error("the weather is bad");
  if (evil() == "throw a number") throw 7;
  plugin.config<EvilConfig>(evil() == "lie" ? "angel" : "evil");
}

}  // namespace backplane::toy

extern "C" {

extern const backplane_build_info backplane_build_info_toy_evil;

__attribute__((visibility("hidden"))) const backplane_plugin_v1* backplane_plugin_entry_toy_evil(const backplane_host_v1*) {
  static constexpr backplane::BuildFingerprint kFingerprint(backplane::kNoTorch);
  static constexpr std::string_view kOther = "format=1\nos=plan9\n";
  static backplane_plugin_v1 plugin = {sizeof(backplane_plugin_v1),
                                       BACKPLANE_ABI_VERSION,
                                       &backplane_build_info_toy_evil,
                                       {kFingerprint.text().data(), kFingerprint.text().size()},
                                       &backplane::detail::register_plugin<backplane::toy::register_evil>,
                                       {}};
  if (evil() == "throw in the entry") throw std::runtime_error("out of the entry");
  if (evil() == "crash") std::raise(SIGSEGV);
  if (evil() == "exit") std::exit(0);
  if (evil() == "loop") {
    for (volatile bool forever = true; forever;) {
    }
  }
  if (evil() == "allocate") {
    for (std::vector<std::vector<char>> blocks;;) blocks.emplace_back(64 << 20);
  }
  if (evil() == "no descriptor") return nullptr;
  if (evil() == "abi") plugin.abi_version = 99;
  if (evil() == "small") plugin.struct_size = 8;
  if (evil() == "fingerprint") plugin.fingerprint = {kOther.data(), kOther.size()};
  return &plugin;
}

}  // extern "C"
