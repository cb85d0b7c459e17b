#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/formats/dtype.h"

namespace backplane {

/// model.safetensors.index.json or pytorch_model.bin.index.json (AC-94).
struct ShardIndex {
  std::vector<std::pair<std::string, std::string>> weight_map;  // tensor -> shard, in the file's order
  std::vector<std::string> shards;                              // sorted, each once
  std::optional<DType> dtype;                                   // metadata.dtype (AC-111)
};

/// Shard names are one path component. Throws `bad_checkpoint` naming `file` and key, `bad_file_name` for a shard that
/// would leave the folder, `limit_exceeded` above limits::kShards.
ShardIndex parse_shard_index(std::string_view text, const std::string& file);

struct WeightOptions {
  std::string variant;                  // "fp16": model.fp16.safetensors (AC-90)
  std::optional<bool> use_safetensors;  // true: nothing else; false: nothing of it
  std::string explicit_file;            // config.json's transformers_weights
  std::string gguf_file;                // read this one
};

/// Where the weights of a model are.
struct WeightFiles {
  enum class Format { safetensors, pytorch, gguf };
  Format format = Format::safetensors;
  std::vector<std::string> paths;  // openable; one, or the shards in the order of index->shards
  std::optional<ShardIndex> index;
};

/// Where a model's files come from: a folder, or a hub repository.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The folder or the repository's id, for messages.
  virtual std::string origin() const = 0;
  virtual bool is_hub() const = 0;
  /// The local path of the file `name` (which may be fetched first); nothing where there is none.
  virtual std::optional<std::string> find(const std::string& name) = 0;
  /// Whether there is such a file, without fetching it.
  virtual bool exists(const std::string& name) = 0;
  /// `find` of several, which a hub may fetch in parallel.
  virtual std::vector<std::optional<std::string>> find_all(const std::vector<std::string>& names);
};

/// Looks the files up in the order of AC-88 to AC-90. Throws `file_not_found` with the sentence of those rules (no
/// weights, only TensorFlow or Flax weights, another variant, a missing shard), `bad_config` for an impossible
/// explicit_file.
WeightFiles find_weight_files(WeightSource& source, const WeightOptions& options = {});

/// The same over a local folder.
WeightFiles find_weight_files(const std::string& folder, const WeightOptions& options = {});

}  // namespace backplane
