#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/base/error.h"
#include "backplane/base/strings.h"

// Weight files written by hand, for the tests of their readers.
namespace backplane::testing {

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

template <class T>
std::string little(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
std::string little(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

inline std::string safetensors(const std::string& header, const std::string& data) {
  return little(uint64_t{header.size()}) + header + data;
}

inline std::string gguf_text(const std::string& text) { return little(uint64_t{text.size()}) + text; }

/// Builds a GGUF file of version 3.
struct GgufBuilder {
  uint64_t alignment = 32;
  uint64_t keys = 0;
  uint64_t tensors = 0;
  std::string entries, directory, data;

  template <class T>
  GgufBuilder& scalar(const std::string& key, uint32_t type, T value) {
    ++keys;
    entries += gguf_text(key) + little(type) + little(value);
    return *this;
  }
  GgufBuilder& text(const std::string& key, const std::string& value) {
    ++keys;
    entries += gguf_text(key) + little(uint32_t{8}) + gguf_text(value);
    return *this;
  }
  GgufBuilder& texts(const std::string& key, const std::vector<std::string>& values) {
    ++keys;
    entries += gguf_text(key) + little(uint32_t{9}) + little(uint32_t{8}) + little(uint64_t{values.size()});
    for (const auto& value : values) entries += gguf_text(value);
    return *this;
  }
  template <class T>
  GgufBuilder& array(const std::string& key, uint32_t type, const std::vector<T>& values) {
    ++keys;
    entries += gguf_text(key) + little(uint32_t{9}) + little(type) + little(uint64_t{values.size()}) + little(values);
    return *this;
  }
  /// `sizes` innermost first, as the file has them.
  GgufBuilder& tensor(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t type,
                      const std::string& bytes) {
    ++tensors;
    data.append((alignment - data.size() % alignment) % alignment, '\0');
    directory += gguf_text(name) + little(static_cast<uint32_t>(sizes.size())) + little(sizes) + little(type) +
                 little(uint64_t{data.size()});
    data += bytes;
    return *this;
  }
  std::string head() const {
    return "GGUF" + little(uint32_t{3}) + little(tensors) + little(keys) + entries + directory;
  }
  std::string file() const {
    std::string bytes = head();
    bytes.append((alignment - bytes.size() % alignment) % alignment, '\0');
    return bytes + data;
  }
};

/// Code and message of the Error that `call` throws; `internal` and "" where it throws none.
inline std::pair<ErrorCode, std::string> error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::internal, ""};
}

/// Calls `run` on `rounds` mutations of `valid`: bytes changed, removed, doubled, numbers at boundaries.
inline void mutate(const std::string& valid, int rounds, const std::function<void(const std::string&)>& run) {
  uint64_t state = 0x9E3779B97F4A7C15ull;
  const auto next = [&](uint64_t below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (state >> 33) % below;
  };
  constexpr uint64_t kBoundaries[] = {0,          1,          0x7f,       0x80,       0xff,       0xffff,
                                      0x7fffffff, 0x80000000, 0xffffffff, 1ull << 62, ~0ull >> 1, ~0ull};
  for (int round = 0; round < rounds; ++round) {
    std::string bytes = valid;
    for (uint64_t edits = 1 + next(4); edits > 0 && !bytes.empty(); --edits) {
      const size_t at = next(bytes.size());
      switch (next(5)) {
        case 0:
          bytes[at] = static_cast<char>(next(256));
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << next(8)));
          break;
        case 2:
          bytes.erase(at, 1 + next(16));
          break;
        case 3:
          bytes.insert(at, bytes.substr(at, 1 + next(16)));
          break;
        case 4: {
          const uint64_t value = kBoundaries[next(std::size(kBoundaries))];
          const size_t width = size_t{1} << next(4);
          std::memcpy(bytes.data() + at, &value, std::min(width, bytes.size() - at));
          break;
        }
      }
    }
    if (next(8) == 0) bytes.resize(next(bytes.size() + 1));
    run(bytes);
  }
}

}  // namespace backplane::testing
