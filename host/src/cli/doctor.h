#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace backplane::cli {

/// One line of the report; `remedy` is what mends it, empty where nothing is wrong.
struct DoctorRow {
  std::string what;
  std::string found;
  std::string remedy = {};
};

/// Adds the verb `doctor`. `tensor_rows` reports on libtorch; empty: only what needs no tensors (`--quick`).
void add_doctor(CLI::App& app, std::function<std::vector<DoctorRow>()> tensor_rows);

}  // namespace backplane::cli
