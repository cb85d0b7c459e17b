#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backplane {

struct SaveOptions {
  uint64_t max_shard_bytes = 5'000'000'000;
  std::string variant;             // "fp16": model.fp16.safetensors
  bool safe_serialization = true;  // false: pytorch_model.bin
};

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Writes model.safetensors, or shards of at most `max_shard_bytes` in the order given with their index (AC-163), and
/// deletes shards of an earlier split. Tensors may be on any device and of any strides; names of tied weights are the
/// caller's to leave out. Files appear whole or not at all. Throws `io`, `invalid_value` for a tensor that cannot be
/// stored.
void save_checkpoint(const std::string& folder, const NamedTensors& tensors, const SaveOptions& options = {});

/// One safetensors file with metadata {"format": "pt"}.
void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::vector<std::pair<std::string, std::string>>& metadata = {{"format", "pt"}});

/// "5GB", "200MB" (decimal), "5GiB" (binary) or plain bytes. Throws `invalid_value`.
uint64_t parse_size(std::string_view text);

}  // namespace backplane
