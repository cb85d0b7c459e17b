#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/formats/dtype.h"

namespace backplane {

class ModelFiles;
class ProgressBars;

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

/// Looks the files up in the order of AC-88 to AC-90, and fetches what a hub has. Throws `file_not_found` with the
/// sentence of those rules (no weights, only TensorFlow or Flax weights, another variant, a missing shard),
/// `bad_config` for an impossible explicit_file; else as ModelFiles.
WeightFiles find_weight_files(ModelFiles& files, const WeightOptions& options = {}, ProgressBars* progress = nullptr);

/// The same over a local folder.
WeightFiles find_weight_files(const std::string& folder, const WeightOptions& options = {});

}  // namespace backplane
