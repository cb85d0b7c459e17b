#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace backplane {

/// What the dynamic loader would act on, read from a library that may be hostile.
struct ElfTables {
  std::vector<std::string> needed;
  std::vector<std::string> search_paths;  // of RPATH and RUNPATH
  std::vector<std::string> exported;
  std::vector<std::string> undefined;  // that must be found
  uint64_t initialisers = 0;           // static ones, the compiler's own not counted
  bool executable_stack = false;
  bool text_relocations = false;
  bool bound_at_once = false;   // -z now
  bool never_unloaded = false;  // -z nodelete
};

/// Throws `bad_plugin` naming the file for tables that leave it or make no sense.
ElfTables read_elf_tables(const std::string& path);

}  // namespace backplane
