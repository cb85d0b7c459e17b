#include <catch2/catch.hpp>

#include "core/formats/pickles.h"

#define LLVMFuzzerTestOneInput fuzz_safetensors
#include "../../../fuzz/safetensors_fuzz.cpp"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_gguf
#include "../../../fuzz/gguf_fuzz.cpp"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_pytorch
#include "../../../fuzz/pytorch_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

using namespace backplane::testing;

namespace {

constexpr int kRounds = 20'000;

auto target(int (*fuzz)(const uint8_t*, size_t)) {
  return [fuzz](const std::string& bytes) { fuzz(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()); };
}

}  // namespace

TEST_CASE("mutated safetensors files are parsed or refused") {
  mutate(
      safetensors(
          R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"a":{"dtype":"I8","shape":[4],"data_offsets":[8,12]}})",
          std::string(12, 'x')),
      kRounds, target(fuzz_safetensors));
}

TEST_CASE("mutated GGUF files are parsed or refused") {
  GgufBuilder gguf;
  gguf.text("general.architecture", "toy")
      .scalar("toy.block_count", 4, uint32_t{1})
      .array("toy.list", 6, std::vector<float>{1, 2})
      .text("tokenizer.ggml.model", "gpt2")
      .texts("tokenizer.ggml.tokens", {"a", "b"})
      .scalar("tokenizer.ggml.bos_token_id", 4, uint32_t{1})
      .tensor("blk.0.attn_q.weight", {32, 2}, 2, std::string(36, 'x'))
      .tensor("output.weight", {3}, 0, std::string(12, 'x'));
  mutate(gguf.file(), kRounds, target(fuzz_gguf));
}

TEST_CASE("mutated PyTorch files are parsed or refused") {
  const std::string floats = little(std::vector<float>{1, 2, 3, 4});
  const auto pickle =
      pickle::dictionary({{"a", pickle::tensor(pickle::storage("FloatStorage", "0", 4), 0, {2, 2}, {2, 1})},
                          {"b", pickle::tensor(pickle::storage("FloatStorage", "0", 4), 1, {2}, {1})}});
  mutate(pickle::archive(pickle, {floats}), kRounds, target(fuzz_pytorch));
  mutate(pickle::archive(pickle, {floats}, true), kRounds, target(fuzz_pytorch));
  mutate(pickle::legacy(pickle, {{"0", floats}}, 4), kRounds, target(fuzz_pytorch));
  // Mutations that the archive's own checks do not see.
  mutate(pickle, kRounds, [&](const std::string& bytes) { target(fuzz_pytorch)(pickle::archive(bytes, {floats})); });
}
