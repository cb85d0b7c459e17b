#pragma once

#include <CLI/CLI.hpp>

#include "backplane/host/inspect.h"

namespace backplane::cli {

/// Adds the verb `inspect`. `load_model`: empty in the program that has no tensors.
void add_inspect(CLI::App& app, InspectModelLoader load_model = nullptr);

/// Whether `inspect` with these arguments has to build a model.
bool inspect_needs_tensors(int argc, char** argv);

}  // namespace backplane::cli
