// The reader of plugins' ELF notes and the manifest in them.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "backplane/base/error.h"
#include "backplane/registry/elf_note.h"
#include "backplane/registry/fingerprint.h"
#include "backplane/registry/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int file = ::memfd_create("plugin", 0);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) return 0;
  const std::string path = "/proc/self/fd/" + std::to_string(file);
  try {
    const auto manifest = backplane::parse_manifest(backplane::read_note(path), path);
    backplane::fingerprint_difference(manifest.fingerprint, backplane::host_fingerprint());
  } catch (const backplane::Error&) {
  }
  ::close(file);
  return 0;
}
