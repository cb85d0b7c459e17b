#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

namespace backplane::cli {

/// Thrown by a verb that has reported a failure itself: exit code 1, and nothing more is printed.
struct Failed {};

/// Parses and runs a command line. Exit codes: 0 fine, 1 failed, 2 wrong usage. A failure is one line "error: …" on
/// stderr, or, with --json anywhere, the object {"error": {"code", "message"}} as the last line on stdout.
int run_command_line(int argc, char** argv, const std::function<void(CLI::App&)>& add_verbs);

}  // namespace backplane::cli
