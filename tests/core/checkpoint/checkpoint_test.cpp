#include "backplane/checkpoint/checkpoint.h"

#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>

#include "backplane/base/json.h"
#include "backplane/checkpoint/save.h"
#include "core/formats/folder.h"
#include "core/formats/pickles.h"

using namespace backplane;
using namespace backplane::testing;

namespace {

at::Tensor sample(at::IntArrayRef shape, at::ScalarType type, int64_t first = 0) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return at::arange(first, first + count, at::kLong).to(type).view(shape);
}

NamedTensors some_tensors() {
  return {{"b.weight", sample({3, 4}, at::kFloat)},
          {"a.half", sample({5}, at::kHalf, 1)},
          {"a.bf16", sample({2, 1}, at::kBFloat16, -1)},
          {"ids", sample({3}, at::kLong, -1)},
          {"flag", at::ones({3}, at::kBool)},
          {"scalar", sample({}, at::kDouble, 7)},
          {"none", at::empty({0, 4}, at::kFloat)}};
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a.contiguous().view({-1}).view(at::kByte), b.contiguous().view({-1}).view(at::kByte));
}

const std::string kFloats = little(std::vector<float>{1, 2, 3, 4, 5, 6});

}  // namespace

TEST_CASE("tensors of a safetensors file are views of its private pages") {
  Folder folder;
  save_checkpoint(folder.text(), some_tensors());
  auto checkpoint = Checkpoint::open(folder.text());
  CHECK(checkpoint->names() ==
        std::vector<std::string>{"a.bf16", "a.half", "b.weight", "flag", "ids", "none", "scalar"});
  CHECK(checkpoint->format() == WeightFiles::Format::safetensors);
  CHECK(checkpoint->metadata() == std::vector<std::pair<std::string, std::string>>{{"format", "pt"}});
  CHECK(checkpoint->dtype() == DType::bf16);
  for (const auto& [name, tensor] : some_tensors()) {
    INFO(name);
    CHECK(same(checkpoint->tensor(name), tensor));
    CHECK(checkpoint->info(name).shape == tensor.sizes().vec());
  }
  CHECK_FALSE(checkpoint->contains("c"));
  CHECK(error_of([&] { checkpoint->tensor("c"); }).second == "the weights have no tensor 'c'");

  auto weight = checkpoint->tensor("b.weight");
  CHECK(weight.data_ptr() == checkpoint->tensor("b.weight").data_ptr());
  weight.fill_(7);
  CHECK(same(Checkpoint::open(folder.text())->tensor("b.weight"), some_tensors()[0].second));
  checkpoint.reset();
  CHECK(weight.sum().item<float>() == 84);
}

TEST_CASE("every dtype is stored and read back bit for bit") {
  const at::ScalarType types[] = {at::kDouble,        at::kFloat,       at::kHalf,   at::kBFloat16,
                                  at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kLong,   at::kInt,
                                  at::kShort,         at::kChar,        at::kUInt64, at::kUInt32,
                                  at::kUInt16,        at::kByte,        at::kBool,   at::kComplexFloat};
  NamedTensors tensors;
  for (at::ScalarType type : types) {
    const auto bytes = type == at::kBool ? at::tensor({1, 0, 1, 1}, at::kByte)
                                         : sample({static_cast<int64_t>(4 * c10::elementSize(type))}, at::kByte, 3);
    tensors.emplace_back(c10::toString(type), bytes.view(type).view({2, 2}));
  }
  for (bool safe : {true, false}) {
    Folder folder;
    save_checkpoint(folder.text(), tensors, {.safe_serialization = safe});
    const auto checkpoint = Checkpoint::open(folder.text());
    for (const auto& [name, tensor] : tensors) {
      INFO(name << " " << safe);
      CHECK(same(checkpoint->tensor(name), tensor));
    }
  }
}

TEST_CASE("strided, negated and expanded tensors are stored as they look") {
  const auto base = sample({2, 3}, at::kFloat);
  for (bool safe : {true, false}) {
    Folder folder;
    save_checkpoint(folder.text(), {{"t", base.t()}, {"e", base[0].expand({4, 3})}, {"s", base.select(1, 1)}},
                    {.safe_serialization = safe});
    const auto checkpoint = Checkpoint::open(folder.text());
    CHECK(same(checkpoint->tensor("t"), base.t()));
    CHECK(same(checkpoint->tensor("e"), base[0].expand({4, 3})));
    CHECK(same(checkpoint->tensor("s"), at::tensor({1.f, 4.f})));
  }
}

TEST_CASE("misaligned tensors are copied") {
  Folder folder;
  folder.add(
      "model.safetensors",
      safetensors(
          R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"F32","shape":[6],"data_offsets":[1,25]}})",
          "x" + kFloats));
  CHECK(same(Checkpoint::open(folder.text())->tensor("y"), sample({6}, at::kFloat, 1)));
}

TEST_CASE("shards hold what fits, and their index is read again (AC-163, AC-94)") {
  NamedTensors tensors;
  for (const char* name : {"c", "a", "d", "b"})
    tensors.emplace_back(name, sample({4}, at::kFloat, static_cast<int64_t>(tensors.size())));
  tensors.insert(tensors.begin() + 1, {"big", sample({100}, at::kFloat)});
  for (bool safe : {true, false}) {
    const std::string stem = safe ? "model" : "pytorch_model", end = safe ? ".safetensors" : ".bin";
    Folder folder;
    folder.add(stem + "-00001-of-00009" + end).add(stem + ".other").add("model-00001-of-00009x.safetensors");
    save_checkpoint(folder.text(), tensors, {.max_shard_bytes = 32, .safe_serialization = safe});
    // c alone stays open while big, above the limit, goes by itself: the reference's order.
    const Json index = read_json_file(folder / (stem + end + ".index.json"));
    CHECK(index["weight_map"].dump() == concat(R"({"a":")", stem, "-00002-of-00003", end, R"(","b":")", stem,
                                               "-00003-of-00003", end, R"(","big":")", stem, "-00001-of-00003", end,
                                               R"(","c":")", stem, "-00002-of-00003", end, R"(","d":")", stem,
                                               "-00003-of-00003", end, "\"}"));
    CHECK(index["metadata"].dump() == R"({"total_parameters":116,"total_size":464})");
    CHECK_FALSE(file_exists(folder / (stem + "-00001-of-00009" + end)));
    CHECK(file_exists(folder / (stem + ".other")));
    CHECK(file_exists(folder / "model-00001-of-00009x.safetensors"));
    const auto checkpoint = Checkpoint::open(folder.text());
    CHECK(checkpoint->names().size() == 5);
    for (const auto& [name, tensor] : tensors) CHECK(same(checkpoint->tensor(name), tensor));
  }
}

TEST_CASE("a variant is saved and read under its name (AC-90)") {
  Folder folder;
  save_checkpoint(folder.text(), some_tensors(), {.variant = "fp16"});
  CHECK(file_exists(folder / "model.fp16.safetensors"));
  CHECK(Checkpoint::open(folder.text(), {.variant = "fp16"})->names().size() == 7);
  save_checkpoint(folder.text(), some_tensors(), {.max_shard_bytes = 20, .variant = "fp16"});
  CHECK(file_exists(folder / "model.safetensors.index.fp16.json"));
}

TEST_CASE("an index whose shards lack its tensors, or have more, decides alone (AC-94)") {
  Folder folder;
  save_safetensors(folder / "one", {{"a", sample({1}, at::kFloat)}, {"unlisted", sample({1}, at::kFloat)}});
  save_safetensors(folder / "two", {{"a", sample({1}, at::kFloat, 5)}, {"b", sample({1}, at::kFloat)}});
  folder.add("model.safetensors.index.json", R"({"metadata":{"dtype":"float16"},"weight_map":{"a":"two","b":"two"}})");
  const auto checkpoint = Checkpoint::open(folder.text());
  CHECK(checkpoint->names() == std::vector<std::string>{"a", "b"});
  CHECK(checkpoint->tensor("a").item<float>() == 5);
  CHECK(checkpoint->dtype() == DType::f16);
  folder.add("model.safetensors.index.json", R"({"metadata":{},"weight_map":{"a":"one","b":"one"}})");
  const auto [code, message] = error_of([&] { Checkpoint::open(folder.text()); });
  CHECK(code == ErrorCode::bad_checkpoint);
  CHECK(message == "the index gives 'b' to the shard 'one', which has no such tensor");
}

TEST_CASE("the metadata's format is checked (AC-92)") {
  const auto message = [](const std::string& metadata) {
    Folder folder;
    folder.add("model.safetensors",
               safetensors("{" + metadata + R"("x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
    return error_of([&] { Checkpoint::open(folder.text()); }).second;
  };
  CHECK(message("") == "");
  CHECK(message(R"("__metadata__":{"format":"pt"},)") == "");
  CHECK(message(R"("__metadata__":{"format":"mlx"},)") == "");
  CHECK(message(R"("__metadata__":{"format":"tf"},)").find("holds tf weights") != std::string::npos);
  CHECK(message(R"("__metadata__":{"format":"np"},)").find("not one of pt, tf, flax, mlx but np") != std::string::npos);
  CHECK(message(R"("__metadata__":{"a":"b"},)").find("but None") != std::string::npos);
}

TEST_CASE("PyTorch files give strided views that share their storage") {
  const auto storage = pickle::storage("FloatStorage", "0", 6);
  const auto pickle = pickle::dictionary(
      {{"t", pickle::tensor(storage, 0, {2, 3}, {1, 2})}, {"u", pickle::tensor(storage, 4, {2}, {1})}});
  std::vector<std::string> files = {pickle::archive(pickle, {kFloats}), pickle::archive(pickle, {kFloats}, true),
                                    pickle::legacy(pickle, {{"0", kFloats}}, 4)};
  // A record at any place, as other writers leave it.
  files.push_back(pickle::zip({{"m/data.pkl", pickle}, {"m/data/0", kFloats}}));
  for (const auto& file : files) {
    Folder folder;
    folder.add("pytorch_model.bin", file);
    auto checkpoint = Checkpoint::open(folder.text());
    CHECK(checkpoint->format() == WeightFiles::Format::pytorch);
    CHECK(checkpoint->names() == std::vector<std::string>{"t", "u"});
    auto t = checkpoint->tensor("t");
    CHECK(same(t, at::tensor({1.f, 3.f, 5.f, 2.f, 4.f, 6.f}).view({2, 3})));
    auto u = checkpoint->tensor("u");
    u.fill_(9);
    CHECK(t[1][2].item<float>() == 9);
    CHECK(reinterpret_cast<uintptr_t>(t.data_ptr()) % 16 == 0);
    checkpoint.reset();
    CHECK(t.sum().item<float>() == 28);
    CHECK(read_file(folder / "pytorch_model.bin", 1 << 20) == file);
  }
}

TEST_CASE("GGUF tensors come under the plugin's names, with what the converter did undone") {
  // Rows of q hold their number; two heads of four rows.
  std::vector<float> rows;
  for (int i = 0; i < 8; ++i) rows.insert(rows.end(), 32, static_cast<float>(i));
  std::string blocks;
  for (int i = 0; i < 8; ++i)
    blocks += little(uint16_t{0x3c00}) + std::string(32, static_cast<char>(i));  // Q8_0: d is 1
  std::vector<float> experts(12);
  for (size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<float>(i);
  const GgufMapping mapping = {.architecture = "toy",
                               .model_type = "toy",
                               .tensors = {{"blk.{n}.attn_q", "layers.{n}.q", GgufTransform::unpermute_heads},
                                           {"blk.{n}.attn_k", "layers.{n}.k", GgufTransform::unpermute_kv_heads},
                                           {"exps", "experts.{e}.up", GgufTransform::split_experts},
                                           {"tr", "tr", GgufTransform::transpose},
                                           {"norm", "norm", GgufTransform::subtract_one},
                                           {"conv", "conv", GgufTransform::insert_dim1},
                                           {"gate", "gate", GgufTransform::insert_dim0},
                                           {"a", "A_log", GgufTransform::log_of_negative},
                                           {"qkv", "qkv", GgufTransform::fused_heads}}};
  const auto floats = [](std::vector<float> values) { return little(values); };
  GgufBuilder gguf;
  gguf.text("general.architecture", "toy")
      .scalar("toy.attention.head_count", 4, uint32_t{2})
      .scalar("toy.attention.head_count_kv", 4, uint32_t{1})
      .tensor("blk.0.attn_q.weight", {32, 8}, 0, little(rows))
      .tensor("blk.1.attn_q.weight", {32, 8}, 8, blocks)
      .tensor("blk.0.attn_k.bias", {4}, 0, floats({0, 1, 2, 3}))
      .tensor("exps.weight", {3, 2, 2}, 0, little(experts))
      .tensor("tr.weight", {3, 2}, 0, floats({1, 2, 3, 4, 5, 6}))
      .tensor("tr.bias", {2}, 0, floats({1, 2}))
      .tensor("norm.weight", {2}, 0, floats({1.5f, 2}))
      .tensor("conv.weight", {2, 3}, 0, floats({1, 2, 3, 4, 5, 6}))
      .tensor("gate.weight", {2}, 0, floats({1, 2}))
      .tensor("a", {2}, 0, floats({-1, -2}))
      .tensor("qkv.bias", {6}, 0, floats({0, 1, 2, 3, 4, 5}))
      .tensor("half.weight", {2}, 1, little(std::vector<uint16_t>{0x3c00, 0xc000}))
      .tensor("unknown", {1}, 0, floats({1}));
  Folder folder;
  folder.add("m.gguf", gguf.file());
  const auto checkpoint = Checkpoint::open_gguf(folder / "m.gguf", mapping);
  CHECK(checkpoint->names() == std::vector<std::string>{"layers.0.q.weight", "layers.1.q.weight", "layers.0.k.bias",
                                                        "experts.0.up.weight", "experts.1.up.weight", "tr.weight",
                                                        "tr.bias", "norm.weight", "conv.weight", "gate.weight", "A_log",
                                                        "qkv.bias"});
  const auto order = at::tensor({0.f, 2.f, 1.f, 3.f, 4.f, 6.f, 5.f, 7.f});
  for (const char* q : {"layers.0.q.weight", "layers.1.q.weight"}) {
    const auto tensor = checkpoint->tensor(q);
    CHECK(at::equal(tensor.select(1, 0), order));
    CHECK(at::equal(tensor.select(1, 31), order));
  }
  const auto q = checkpoint->blocks("layers.1.q.weight");
  REQUIRE(q);
  for (size_t row = 0; row < 8; ++row)
    CHECK(static_cast<float>(q->bytes[row * 34 + 2]) == order[static_cast<int64_t>(row)].item<float>());
  CHECK_FALSE(checkpoint->blocks("layers.0.q.weight"));
  CHECK(same(checkpoint->tensor("layers.0.k.bias"), at::tensor({0.f, 2.f, 1.f, 3.f})));
  CHECK(same(checkpoint->tensor("experts.1.up.weight"), at::tensor({6.f, 7.f, 8.f, 9.f, 10.f, 11.f}).view({2, 3})));
  CHECK(same(checkpoint->tensor("tr.weight"), at::tensor({1.f, 4.f, 2.f, 5.f, 3.f, 6.f}).view({3, 2})));
  CHECK(same(checkpoint->tensor("tr.bias"), at::tensor({1.f, 2.f})));
  CHECK(same(checkpoint->tensor("norm.weight"), at::tensor({0.5f, 1.f})));
  CHECK(same(checkpoint->tensor("conv.weight"), at::tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}).view({3, 1, 2})));
  CHECK(same(checkpoint->tensor("gate.weight"), at::tensor({1.f, 2.f}).view({1, 2})));
  CHECK(checkpoint->tensor("A_log")[1].item<float>() == Approx(0.6931472));
  CHECK(same(checkpoint->tensor("qkv.bias"), at::tensor({0.f, 2.f, 4.f, 1.f, 3.f, 5.f})));
  for (const auto& name : checkpoint->names())
    CHECK(checkpoint->tensor(name).sizes().vec() == checkpoint->info(name).shape);

  const auto plain = Checkpoint::open_file(folder / "m.gguf");
  CHECK(plain->tensor("half.weight").scalar_type() == at::kHalf);
  CHECK(plain->tensor("half.weight")[1].item<float>() == -2);

  folder.add("odd.gguf", GgufBuilder()
                             .text("general.architecture", "toy")
                             .scalar("toy.attention.head_count", 4, uint32_t{3})
                             .scalar("toy.attention.head_count_kv", 4, uint32_t{3})
                             .tensor("blk.0.attn_q.weight", {1, 8}, 0, std::string(32, 'x'))
                             .file());
  CHECK(error_of([&] {
          Checkpoint::open_gguf(folder / "odd.gguf", mapping);
        }).second.find("no multiple of twice the number of heads") != std::string::npos);
}

TEST_CASE("sizes are read as the reference reads them") {
  CHECK(parse_size("5GB") == 5'000'000'000);
  CHECK(parse_size(" 200 mb ") == 200'000'000);
  CHECK(parse_size("1.5KB") == 1500);
  CHECK(parse_size("2GiB") == 2ull << 30);
  CHECK(parse_size("12") == 12);
  for (const char* text : {"", "GB", "-1GB", "5 parsecs", "nan", "1e300TB"})
    CHECK(error_of([&] { parse_size(text); }).first == ErrorCode::invalid_value);
}

TEST_CASE("what cannot be written leaves nothing behind") {
  Folder folder;
  CHECK(error_of([&] { save_safetensors(folder / "absent/x", {}); }).first == ErrorCode::io);
  CHECK(error_of([&] {
          save_safetensors(folder / "x", {{"t", at::zeros({1}, at::kComplexDouble)}});
        }).first == ErrorCode::invalid_value);
  CHECK(boost::filesystem::is_empty(folder.path));
  save_checkpoint(folder.text(), {});
  CHECK(Checkpoint::open(folder.text())->names().empty());
}
