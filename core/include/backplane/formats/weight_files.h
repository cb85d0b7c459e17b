#pragma once

#include <functional>
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

/// The local path of a file that the model has under `name` (subfolder left out); nothing where it has none. For a hub
/// repository it downloads.
using FileLookup = std::function<std::optional<std::string>(const std::string& name)>;

/// Looks the files up in the order of AC-88 to AC-90. `origin` is the folder or repository for messages. Throws
/// `file_not_found` with the sentence of those rules (missing weights, only TensorFlow or Flax weights, a missing
/// shard).
WeightFiles find_weight_files(const FileLookup& lookup, const std::string& origin, const WeightOptions& options = {});

/// find_weight_files over a local folder.
WeightFiles find_weight_files(const std::string& folder, const WeightOptions& options = {});

}  // namespace backplane
