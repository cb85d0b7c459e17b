#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backplane/config/value.h"

// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
namespace backplane {

// Tensor types of GGUF files: enumerator, number in the file, elements a block, bytes a block.
#define BACKPLANE_GGML_TYPES(X)                                                                                        \
  X(F32, 0, 1, 4)                                                                                                      \
  X(F16, 1, 1, 2)                                                                                                      \
  X(Q4_0, 2, 32, 18)                                                                                                   \
  X(Q4_1, 3, 32, 20)                                                                                                   \
  X(Q5_0, 6, 32, 22)                                                                                                   \
  X(Q5_1, 7, 32, 24)                                                                                                   \
  X(Q8_0, 8, 32, 34) X(Q8_1, 9, 32, 40) X(Q2_K, 10, 256, 84) X(Q3_K, 11, 256, 110) X(Q4_K, 12, 256, 144)               \
      X(Q5_K, 13, 256, 176) X(Q6_K, 14, 256, 210) X(Q8_K, 15, 256, 292) X(IQ2_XXS, 16, 256, 66) X(IQ2_XS, 17, 256, 74) \
          X(IQ3_XXS, 18, 256, 98) X(IQ1_S, 19, 256, 50) X(IQ4_NL, 20, 32, 18) X(IQ3_S, 21, 256, 110)                   \
              X(IQ2_S, 22, 256, 82) X(IQ4_XS, 23, 256, 136) X(I8, 24, 1, 1) X(I16, 25, 1, 2) X(I32, 26, 1, 4)          \
                  X(I64, 27, 1, 8) X(F64, 28, 1, 8) X(IQ1_M, 29, 256, 56) X(BF16, 30, 1, 2) X(TQ1_0, 34, 256, 54)      \
                      X(TQ2_0, 35, 256, 66) X(MXFP4, 39, 32, 17)

enum class GgmlType : uint32_t {
#define BACKPLANE_GGML_ENUMERATOR(id, number, elements, bytes) id = number,
  BACKPLANE_GGML_TYPES(BACKPLANE_GGML_ENUMERATOR)
#undef BACKPLANE_GGML_ENUMERATOR
};

struct GgmlBlock {
  uint64_t elements;
  uint64_t bytes;
};
std::string_view to_string(GgmlType type);
GgmlBlock block_of(GgmlType type);

struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::F32;
  std::vector<int64_t> shape;  // outermost first, as PyTorch's (the file stores it reversed)
  uint64_t begin = 0;          // bytes from the start of the file
  uint64_t end = 0;
};

/// An array of the metadata, kept dense: a vocabulary has 10^5 texts. Nested arrays are flattened.
struct GgufArray {
  enum class Kind { text, integer, number, boolean };
  Kind kind = Kind::integer;
  std::vector<std::string> texts;
  std::vector<double> numbers;  // all other kinds; whole numbers are exact up to 2^53

  size_t size() const { return kind == Kind::text ? texts.size() : numbers.size(); }
  Value at(size_t i) const;
};

struct GgufFile {
  uint32_t version = 0;
  uint64_t alignment = 32;
  std::vector<std::pair<std::string, Value>> metadata;    // scalars and texts, in the file's order
  std::vector<std::pair<std::string, GgufArray>> arrays;  // likewise
  std::vector<GgufTensor> tensors;

  const Value* find(std::string_view key) const;
  const GgufArray* find_array(std::string_view key) const;
  /// The text under `key`; empty where it is absent or no text.
  std::string text(std::string_view key) const;
};

/// Parses metadata and directory. Nothing where `prefix` ends before the directory does and the file is longer: call
/// again with more of it. `file` is the name for messages. Throws `bad_checkpoint` naming file and key,
/// `limit_exceeded`.
std::optional<GgufFile> parse_gguf(std::span<const std::byte> prefix, uint64_t file_size, const std::string& file);

/// The vocabulary of a GGUF file (tokenizer.ggml.*), as it stands there.
struct GgufTokenizer {
  std::string model;  // "gpt2", "llama", "bert", "t5"
  std::string pre;    // which pre-tokenizer: "smollm", "llama-bpe", "qwen2", …
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::vector<std::string> merges;
  std::optional<int64_t> bos, eos, unknown, padding, separator, mask;
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string chat_template;
};

/// Throws `bad_tokenizer` where the file has no vocabulary, or one that contradicts itself.
GgufTokenizer read_gguf_tokenizer(const GgufFile& gguf, const std::string& file);

}  // namespace backplane
