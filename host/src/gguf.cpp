#include "backplane/host/gguf.h"

#include <algorithm>
#include <boost/filesystem.hpp>

#include "backplane/base/files.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/formats/gguf.h"
#include "backplane/registry/plugin_source.h"

namespace backplane {
namespace {

GgufEntry entry_of(const GgufFile& file, const std::string& path) {
  const std::string architecture = gguf_architecture(file, path);
  const auto source = plugin_source();
  auto& registry = Registry::process();
  for (const auto& entry : registry.ggufs(architecture)) {
    if (entry.mapping.tensors.empty()) source->load(registry, *entry.provider);  // declared by a manifest
  }
  const auto entries = registry.ggufs(architecture);
  std::vector<const GgufMapping*> mappings;
  for (const auto& entry : entries) mappings.push_back(&entry.mapping);
  if (const GgufMapping* chosen = choose_gguf_mapping(file, mappings)) {
    return *std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return &entry.mapping == chosen; });
  }
  throw Error(ErrorCode::plugin_not_installed,
              concat("'", path, "' is of architecture '", architecture,
                     "', which no installed plugin reads; searched: ", join(source->searched())));
}

std::vector<std::string> gguf_names(const std::string& folder) {
  std::vector<std::string> names;
  boost::system::error_code error;
  for (boost::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".gguf") names.push_back(at->path().filename().string());
  }
  return names;
}

}  // namespace

GgufFile read_gguf_file(const std::string& path) {
  const auto map = MappedFile::open(path);
  auto file = parse_gguf(map->bytes(), map->bytes().size(), path);
  if (!file) throw Error(ErrorCode::bad_checkpoint, concat("'", path, "' ends within its header"));
  return std::move(*file);
}

GgufEntry gguf_entry(const std::string& path) { return entry_of(read_gguf_file(path), path); }

Json gguf_config_json(const std::string& path) {
  const GgufFile file = read_gguf_file(path);
  return to_json(Value(gguf_config(file, entry_of(file, path).mapping)));
}

std::pair<std::string, PretrainedOptions> split_gguf_path(const std::string& name_or_path,
                                                          const PretrainedOptions& options) {
  if (options.gguf_file) return {name_or_path, options};
  if (folder_exists(name_or_path) && !file_exists(name_or_path + "/config.json")) {
    const auto names = gguf_names(name_or_path);
    if (names.size() != 1) return {name_or_path, options};
    PretrainedOptions split = options;
    split.gguf_file = names.front();
    return {name_or_path, std::move(split)};
  }
  if (!name_or_path.ends_with(".gguf") || !file_exists(name_or_path)) return {name_or_path, options};
  PretrainedOptions split = options;
  const size_t slash = name_or_path.rfind('/');
  split.gguf_file = name_or_path.substr(slash == std::string::npos ? 0 : slash + 1);
  return {slash == std::string::npos ? "." : name_or_path.substr(0, std::max<size_t>(slash, 1)), std::move(split)};
}

}  // namespace backplane
