#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/formats/tensor_info.h"

// https://github.com/huggingface/safetensors: 8 bytes of little-endian header length, a JSON header, the tensors'
// bytes.
namespace backplane {

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;                            // sorted by name
  std::vector<std::pair<std::string, std::string>> metadata;  // of "__metadata__"
  bool has_metadata = false;
};

/// The first bytes of the file that hold the whole header, from its first 8 (or fewer, where the file is shorter).
/// `file` is its name for messages. Throws `bad_checkpoint`: too short, a git-lfs pointer, a length that is 0, above
/// the cap or past the end of the file.
uint64_t safetensors_header_end(std::span<const std::byte> first, uint64_t file_size, const std::string& file);

/// Parses the header out of `prefix`, which holds at least the bytes that safetensors_header_end asks for. Every
/// tensor's bytes lie within the file, have exactly the size of its shape, and tile the data without holes, overlap or
/// rest. Throws `bad_checkpoint` naming file and key.
SafetensorsHeader parse_safetensors(std::span<const std::byte> prefix, uint64_t file_size, const std::string& file);

/// The header of a file whose tensors, in this order, are to be stored one after the other; begin and end of each are
/// set. Tensors of wider element types must come first, so that all are aligned. The result begins with the 8 bytes of
/// its length and is padded to a multiple of 8.
std::string write_safetensors_header(std::vector<TensorInfo>& tensors,
                                     const std::vector<std::pair<std::string, std::string>>& metadata);

/// Throws `bad_checkpoint` with the remedy where the bytes begin as a git-lfs pointer does.
void refuse_lfs_pointer(std::span<const std::byte> first, const std::string& file);

}  // namespace backplane
