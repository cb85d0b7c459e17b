#pragma once

#include <string>
#include <vector>

namespace backplane {

enum class CheckStatus { pass, fail, warn, skip };
std::string_view to_string(CheckStatus status);

struct CheckResult {
  std::string name;
  CheckStatus status = CheckStatus::pass;
  std::string detail;
};

/// The conformance kit's first two levels. Level 1 reads the library: manifest, fingerprint, and a lint of its ELF
/// tables (libraries needed, search paths, exported symbols, stack, initialisers, undefined symbols against this host's
/// libraries). Level 2 opens it, each test in a child process of its own: registers, registers twice the same, survives
/// a host of another ABI, makes its configurations and reads back what they write.
std::vector<CheckResult> check_plugin(const std::string& path, int level = 2);

/// Symbols that the library needs and none of its libraries, as this host has them, exports; demangled. Opens those
/// libraries, not the plugin. Throws `bad_plugin` for a malformed file.
std::vector<std::string> missing_symbols(const std::string& path);

}  // namespace backplane
