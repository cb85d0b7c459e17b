#pragma once

#include <CLI/CLI.hpp>
#include <string>

// The verbs of the command line that need tensors. Each adds its options to `app` and runs in the callback.
namespace backplane::cli {

void add_embed(CLI::App& app);
void add_transcribe(CLI::App& app);
void add_run(CLI::App& app);
void add_chat(CLI::App& app);
void add_translate(CLI::App& app);
void add_summarize(CLI::App& app);
void add_bench(CLI::App& bench);
/// classify, fill-mask, detect, segment, zero-shot.
void add_tasks(CLI::App& app);

}  // namespace backplane::cli
