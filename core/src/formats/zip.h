#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

// Just enough of the zip format, zip64 included, to read what PyTorch writes.
namespace backplane {

struct ZipRecord {
  std::string name;
  uint64_t begin = 0;  // its bytes in the archive
  uint64_t end = 0;
  uint64_t size = 0;  // when inflated
  uint32_t crc = 0;
  bool compressed = false;
};

bool is_zip(std::span<const std::byte> bytes);

/// The central directory, checked against the archive: every record lies within it and is stored or deflated, no name
/// occurs twice, and nothing inflates to more than 100 times of the archive. Throws `bad_checkpoint`.
std::vector<ZipRecord> read_zip_directory(std::span<const std::byte> bytes, const std::string& file);

/// Throws `bad_checkpoint` where the record does not inflate to exactly `out` with its checksum.
void inflate_record(std::span<const std::byte> deflated, uint32_t crc, std::span<std::byte> out,
                    const std::string& name, const std::string& file);

uint32_t crc32_of(std::span<const std::byte> bytes);

}  // namespace backplane
