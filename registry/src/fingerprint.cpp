#include "backplane/registry/fingerprint.h"

#include <optional>
#include <vector>

#include "backplane/base/strings.h"

namespace backplane {
namespace {

std::optional<std::string_view> value_of(std::string_view lines, std::string_view key) {
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == '=') return line.substr(key.size() + 1);
  }
  return std::nullopt;
}

struct Field {
  std::string_view key;
  std::string_view label;
  bool of_torch;
};
constexpr Field kFields[] = {
    {"format", "fingerprint format", false},
    {"os", "system", false},
    {"arch", "architecture", false},
    {"cxx_library", "C++ library", false},
    {"cxx11_abi", "_GLIBCXX_USE_CXX11_ABI", false},
    {"cxx_debug", "_GLIBCXX_DEBUG", false},
    {"sdk_abi", "plugin ABI", false},
    {"sdk_interface", "SDK headers", false},
    {"torch", "torch", true},
    {"torch_flavour", "torch flavour", true},
    {"sizeof_tensor", "sizeof(Tensor)", true},
    {"sizeof_tensor_impl", "sizeof(TensorImpl)", true},
    {"sizeof_module", "sizeof(nn::Module)", true},
};

}  // namespace

bool uses_torch(std::string_view fingerprint) { return value_of(fingerprint, "torch") != "none"; }

std::string fingerprint_difference(std::string_view plugin, std::string_view host) {
  std::vector<std::string> theirs, ours;
  for (const auto& field : kFields) {
    if (field.of_torch && !uses_torch(plugin)) continue;
    const auto their = value_of(plugin, field.key);
    const auto our = value_of(host, field.key);
    if (their == our) continue;
    theirs.push_back(concat(field.label, " ", their.value_or("unknown")));
    ours.push_back(concat(field.label, " ", our.value_or("unknown")));
  }
  if (theirs.empty()) return "";
  return concat("plugin: ", join(theirs), "; host: ", join(ours));
}

}  // namespace backplane
