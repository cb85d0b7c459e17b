#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "backplane/base/error.h"
#include "backplane/base/files.h"
#include "backplane/hub/hub.h"
#include "hub/cache_layout.h"
#include "hub/http.h"

// What a hub says in headers and addresses; what comes out must be safe to use as a path or an address.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace backplane;
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto name = hub::blob_name(text)) {
    if (!is_plain_file_name(*name) || name->size() > 200) std::abort();
  }
  if (hub::is_relative_file(text)) {
    if (text.front() == '/' || ("/" + text + "/").find("/../") != std::string::npos ||
        text.find('\0') != std::string::npos)
      std::abort();
  }
  if (const auto next = hub::resolve_redirect("https://hub.example/org/name/resolve/main/f", text)) {
    if (!next->starts_with("http://") && !next->starts_with("https://")) std::abort();
    hub::parse_url(*next);
  }
  if (is_repo_id(text) && hub::repo_of_folder(hub::RepoLayout("/cache", text).folder().substr(7)) != text) std::abort();
  try {
    ModelFiles(text, {.cache_dir = "/nonexistent", .endpoint = "https://hub.example", .token = false});
  } catch (const Error&) {
  }
  return 0;
}
