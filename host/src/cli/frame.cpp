#include "cli/frame.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string_view>

#include "backplane/base/error.h"
#include "backplane/base/json.h"
#include "backplane/base/version.h"

namespace backplane::cli {
namespace {

int fail(bool json, ErrorCode code, const std::string& message) {
  std::cout << std::flush;
  if (json) {
    std::cout << python_dumps({{"error", {{"code", std::string(to_string(code))}, {"message", message}}}}) << std::endl;
  } else {
    std::cerr << "error: " << message << std::endl;
  }
  return code == ErrorCode::usage ? 2 : 1;
}

}  // namespace

int run_command_line(int argc, char** argv, const std::function<void(CLI::App&)>& add_verbs) {
  const bool json = std::any_of(argv + 1, argv + argc, [](std::string_view argument) { return argument == "--json"; });
  try {
    CLI::App app("Backplane: models of the Hugging Face hub, run natively; architectures are plugins", "backplane");
    app.set_version_flag("--version", "backplane " BACKPLANE_VERSION);
    app.require_subcommand(1);
    app.get_formatter()->column_width(34);
    add_verbs(app);
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
      if (json) return fail(json, ErrorCode::usage, error.what());
      app.exit(error);
      return 2;
    }
    return 0;
  } catch (const Failed&) {
    return 1;
  } catch (const Error& error) {
    return fail(json, error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(json, ErrorCode::limit_exceeded, "out of memory");
  } catch (const std::exception& error) {
    return fail(json, ErrorCode::internal, std::string(error.what(), 0, std::string_view(error.what()).find('\n')));
  }
}

}  // namespace backplane::cli
