#pragma once

#include <cstdint>

// Caps on what a file or an argument may ask for. Every parser of bytes that came from elsewhere checks these before
// it allocates.
namespace backplane::limits {

inline constexpr uint64_t kConfigBytes = 16ull << 20;
inline constexpr int kJsonDepth = 64;
inline constexpr uint64_t kTokenizerBytes = 256ull << 20;
inline constexpr uint64_t kSafetensorsHeaderBytes = 100ull << 20;
inline constexpr uint64_t kTensorsPerFile = 1'000'000;
inline constexpr int kTensorRank = 8;
inline constexpr uint64_t kShards = 10'000;
inline constexpr uint64_t kGgufKeys = 100'000;
inline constexpr uint64_t kTemplateOutputBytes = 16ull << 20;
inline constexpr uint64_t kTemplateSteps = 1'000'000;
inline constexpr int kTemplateDepth = 128;

}  // namespace backplane::limits
