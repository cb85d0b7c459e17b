#include "backplane/host/gguf.h"

#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/formats/gguf.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

GgufFile read_header(const std::string& path) {
  const auto map = MappedFile::open(path);
  auto file = parse_gguf(map->bytes(), map->bytes().size(), path);
  if (!file) throw Error(ErrorCode::bad_checkpoint, concat("'", path, "' ends within its header"));
  return std::move(*file);
}

GgufEntry entry_of(const GgufFile& file, const std::string& path) {
  const std::string architecture = gguf_architecture(file, path);
  const auto source = plugin_source();
  auto& registry = Registry::process();
  auto entry = registry.gguf(architecture);
  if (entry && entry->mapping.tensors.empty()) {  // declared by a manifest
    source->load(registry, *entry->provider);
    entry = registry.gguf(architecture);
  }
  if (entry) return *entry;
  throw Error(ErrorCode::plugin_not_installed, concat("'", path, "' is of architecture '", architecture, "', which no installed plugin reads; searched: ",
                                                      join(source->searched())));
}

}  // namespace

GgufEntry gguf_entry(const std::string& path) { return entry_of(read_header(path), path); }

Json gguf_config_json(const std::string& path) {
  const GgufFile file = read_header(path);
  return to_json(Value(gguf_config(file, entry_of(file, path).mapping)));
}

}  // namespace backplane
