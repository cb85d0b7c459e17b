#include <catch2/catch.hpp>

#include "backplane/checkpoint/checkpoint.h"
#include "core/formats/bytes.h"
#include "core/formats/folder.h"

using namespace backplane;
using namespace backplane::testing;

namespace {

uint64_t fnv1a(std::span<const std::byte> bytes) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (std::byte byte : bytes) hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001B3u;
  return hash;
}

struct Case {
  GgmlType type;
  uint64_t hash;
  std::vector<size_t> halves;  // where a block has numbers of 16 bits, kept finite
};

// The hash is that of what Python's `gguf.dequantize` makes of the same blocks.
const Case kCases[] = {
    {GgmlType::Q4_0, 0xb8efdb21b0a72740, {0}},    {GgmlType::Q4_1, 0x869c0ac1c0b68e23, {0, 2}},
    {GgmlType::Q5_0, 0x8ff6ae4a5efe5526, {0}},    {GgmlType::Q5_1, 0x47c3cbd034198796, {0, 2}},
    {GgmlType::Q8_0, 0xe9e458a4512618b7, {0}},    {GgmlType::Q2_K, 0x09cec319f13c5af4, {80, 82}},
    {GgmlType::Q3_K, 0xd68757679ca8db8f, {108}},  {GgmlType::Q4_K, 0xb1c05cae43be8160, {0, 2}},
    {GgmlType::Q5_K, 0xacb717abbc4202fa, {0, 2}}, {GgmlType::Q6_K, 0x47cb46bfaeed413d, {208}},
    {GgmlType::IQ4_NL, 0x534b5b68b80598f1, {0}},  {GgmlType::IQ4_XS, 0x25e3c7534c22dcc4, {0}},
    {GgmlType::TQ1_0, 0x605cf272220a5d92, {52}},  {GgmlType::TQ2_0, 0x6785bb69808f4b05, {64}},
    {GgmlType::MXFP4, 0x7faa14af6d458fbf, {}},
};

constexpr size_t kBlocks = 5;

std::string random_blocks(const Case& c) {
  const size_t size = block_of(c.type).bytes;
  uint64_t state = 0x9E3779B97F4A7C15u;
  std::string bytes(kBlocks * size, '\0');
  for (char& byte : bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    byte = static_cast<char>(state >> 33);
  }
  for (size_t block = 0; block < kBlocks; ++block) {
    for (size_t half : c.halves)
      bytes[block * size + half + 1] = static_cast<char>(bytes[block * size + half + 1] & 0xbf);
    if (c.type == GgmlType::MXFP4) bytes[block * size] = "\x00\x01\x02\x7f\x8c"[block];
  }
  return bytes;
}

}  // namespace

TEST_CASE("quantised tensors are bit-equal to the reference's, and their blocks can be had") {
  for (const Case& c : kCases) {
    INFO(to_string(c.type));
    const std::string bytes = random_blocks(c);
    Folder folder;
    folder.add(
        "m.gguf",
        GgufBuilder().tensor("t", {block_of(c.type).elements, kBlocks}, static_cast<uint32_t>(c.type), bytes).file());
    const auto checkpoint = Checkpoint::open(folder.text(), {.gguf_file = "m.gguf"});
    const auto tensor = checkpoint->tensor("t");
    CHECK(tensor.scalar_type() == at::kFloat);
    CHECK(tensor.sizes() == at::IntArrayRef({kBlocks, static_cast<int64_t>(block_of(c.type).elements)}));
    CHECK(fnv1a({static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}) == c.hash);
    const auto blocks = checkpoint->blocks("t");
    REQUIRE(blocks);
    CHECK(blocks->type == c.type);
    CHECK(std::string(reinterpret_cast<const char*>(blocks->bytes.data()), blocks->bytes.size()) == bytes);
  }
}

TEST_CASE("quantised types that are not read are named") {
  Folder folder;
  folder.add("m.gguf", GgufBuilder().tensor("t", {256}, 16, std::string(66, 'x')).file());
  const auto [code, message] = error_of([&] { Checkpoint::open(folder.text(), {.gguf_file = "m.gguf"}); });
  CHECK(code == ErrorCode::bad_checkpoint);
  CHECK(message.find("tensor 't' has the type IQ2_XXS") != std::string::npos);
}
