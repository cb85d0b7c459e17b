#pragma once

#include <CLI/CLI.hpp>

// The verbs that start without libtorch. Each adds its options to `app` and runs in the callback.
namespace backplane::cli {

void add_cache(CLI::App& app);
void add_download(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_plugins(CLI::App& app);
void add_bench_tokenize(CLI::App& app);

void add_verbs(CLI::App& app);

}  // namespace backplane::cli
