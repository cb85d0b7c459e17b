#include "backplane/formats/safetensors.h"

#include <catch2/catch.hpp>

#include "core/formats/bytes.h"

using namespace backplane;
using namespace backplane::testing;

namespace {

SafetensorsHeader parse(const std::string& file) { return parse_safetensors(as_bytes(file), file.size(), "f"); }

// Code and message for a file with this header and this many bytes of data.
std::pair<ErrorCode, std::string> refusal(const std::string& header, size_t data = 8) {
  return error_of([&] { parse(safetensors(header, std::string(data, 'x'))); });
}

}  // namespace

TEST_CASE("a safetensors header gives names, types, shapes and places in the file, sorted by name") {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("a":{"shape":[],"data_offsets":[8,10],"dtype":"BF16","extra":{"x":[1,{"y":null}]}},)"
      R"("c":{"dtype":"F8_E4M3","shape":[3,0],"data_offsets":[10,10]}}  )";
  const std::string file = safetensors(header, std::string(10, 'x'));
  CHECK(safetensors_header_end(as_bytes(file).first(8), file.size(), "f") == 8 + header.size());
  const auto parsed = parse(file);
  REQUIRE(parsed.tensors.size() == 3);
  CHECK(parsed.metadata == std::vector<std::pair<std::string, std::string>>{{"format", "pt"}});
  const auto& a = parsed.tensors[0];
  CHECK(a.name == "a");
  CHECK(a.dtype == DType::bf16);
  CHECK(a.shape.empty());
  CHECK(a.begin == 8 + header.size() + 8);
  CHECK(a.end == a.begin + 2);
  CHECK(a.file == "f");
  CHECK(parsed.tensors[1].shape == std::vector<int64_t>{1, 2});
  CHECK(parsed.tensors[2].dtype == DType::f8_e4m3);
  CHECK(parsed.tensors[2].shape == std::vector<int64_t>{3, 0});
  CHECK_FALSE(parse(safetensors("{}", "")).has_metadata);
}

TEST_CASE("every dtype of safetensors has its size and its PyTorch name") {
  const std::pair<const char*, uint64_t> sizes[] = {
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8},  {"I32", 4},
      {"I16", 2}, {"I8", 1},  {"U64", 8}, {"U32", 4},  {"U16", 2},     {"U8", 1},      {"BOOL", 1}, {"C64", 8}};
  for (const auto& [name, size] : sizes) {
    const auto dtype = find_dtype(name);
    REQUIRE(dtype);
    CHECK(dtype_name(*dtype) == name);
    CHECK(dtype_size(*dtype) == size);
    CHECK(find_torch_dtype(torch_dtype_name(*dtype)) == dtype);
  }
  CHECK(torch_dtype_name(DType::f8_e4m3) == "float8_e4m3fn");
  CHECK(is_floating(DType::bf16));
  CHECK_FALSE(is_floating(DType::c64));
  CHECK_FALSE(find_dtype("F4"));
}

TEST_CASE("malformed safetensors files are refused with the file, the tensor and the reason") {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return concat(R"({"t":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)", offsets, "}}");
  };
  CHECK(refusal(one("F32", "[2]", "[0,8]")).second == "");  // the valid case that the others change

  const std::vector<std::pair<std::string, std::string>> cases = {
      {one("F32", "[2]", "[8,0]"), "reversed"},
      {one("F32", "[2]", "[0,16]"), "the file is truncated or damaged"},
      {one("F32", "[1]", "[0,4]"), "has 4 bytes after its last tensor"},
      {one("F32", "[1]", "[4,8]"), "after a hole"},
      {one("F32", "[3]", "[0,8]"), "F32 [3] needs 12"},
      {one("F32", "[4611686018427387904,4611686018427387904]", "[0,8]"), "needs more than 2^63"},
      {one("F32", "[18446744073709551615]", "[0,8]"), "has a dimension of 18446744073709551615"},
      {one("F32", "[99999999999999999999]", "[0,8]"), "has a fraction"},
      {one("F32", "[-2]", "[0,8]"), "has a negative number"},
      {one("F32", "[2.0]", "[0,8]"), "has a fraction"},
      {one("F32", "2", "[0,8]"), "has a number"},
      {one("F32", "[[2]]", "[0,8]"), "has a list"},
      {one("F32", "[2]", "[0,4,8]"), "more than two data_offsets"},
      {one("F32", "[2]", "[0]"), "has 1 data_offsets"},
      {one("F4", "[2]", "[0,8]"), "dtype 'F4'"},
      {one("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "more than 8 dimensions"},
      {R"({"t":{"dtype":"F32","shape":[2]}})", "lacks one of"},
      {R"({"t":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "two entries 'dtype'"},
      {R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "'t' occurs twice"},
      {R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"u":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "within another tensor"},
      {R"({"t":5})", "tensor 't' has a number"},
      {R"({"t":null})", "tensor 't' has null"},
      {R"({"__metadata__":{"a":1}})", "__metadata__.a is a number"},
      {R"({"__metadata__":{"a":"1"},"__metadata__":{}})", "__metadata__ occurs twice"},
      {R"({"__metadata__":[]})", "__metadata__ is a list"},
      {"[1]", "does not begin with '{'"},
      {" {}", "does not begin with '{'"},
      {R"({"t":)", "not valid JSON"},
      {R"({} {})", "not valid JSON"},
      {std::string("{\"\xff\":{}}"), "not valid JSON"},
      {"{" + std::string(100000, '['), "not valid JSON"},
  };
  for (const auto& [header, reason] : cases) {
    const auto [code, message] = refusal(header);
    INFO(header.substr(0, 100) << " -> " << message);
    CHECK(code == ErrorCode::bad_checkpoint);
    CHECK(message.find("'f'") != std::string::npos);
    CHECK(message.find(reason) != std::string::npos);
  }
}

TEST_CASE("safetensors files that are too short, or something else, are refused") {
  const auto message = [](const std::string& file) {
    const auto [code, text] = error_of([&] { parse(file); });
    CHECK(code == ErrorCode::bad_checkpoint);
    return text;
  };
  CHECK(message("") == "'f' has 0 bytes; a safetensors file has at least 8");
  CHECK(message("1234567").find("has 7 bytes") != std::string::npos);
  CHECK(message(little(uint64_t{0})).find("a header of 0 bytes") != std::string::npos);
  CHECK(message(little(uint64_t{3}) + "{}").find("a header of 3 bytes") != std::string::npos);
  CHECK(message(little(~uint64_t{0}) + "{}").find("at most 104857600") != std::string::npos);
  CHECK(message("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n").find("git-lfs pointer") !=
        std::string::npos);
  // A header that the file does have, of which only a part was read.
  const std::string file = safetensors("{}", "");
  CHECK(error_of([&] { parse_safetensors(as_bytes(file).first(9), file.size(), "f"); }).first ==
        ErrorCode::bad_checkpoint);
}

TEST_CASE("a header with many tensors is read in linear time") {
  std::string header = "{";
  constexpr int kCount = 200'000;
  for (int i = 0; i < kCount; ++i) {
    header += concat(i ? "," : "", "\"model.layers.", i, R"(.w":{"dtype":"U8","shape":[1],"data_offsets":[)", i, ",",
                     i + 1, "]}");
  }
  const auto parsed = parse(safetensors(header + "}", std::string(kCount, 'x')));
  CHECK(parsed.tensors.size() == kCount);
}

TEST_CASE("a written safetensors header reads back, aligned") {
  std::vector<TensorInfo> tensors = {
      {"wide", DType::f32, {2, 3}}, {"a \"name\" é", DType::bf16, {3}}, {"flag", DType::boolean, {}}};
  const std::string header = write_safetensors_header(tensors, {{"format", "pt"}});
  CHECK(header.size() % 8 == 0);
  CHECK(tensors[0].begin == header.size());
  const auto parsed = parse(header + std::string(24 + 6 + 1, 'x'));
  REQUIRE(parsed.tensors.size() == 3);
  CHECK(parsed.metadata[0].second == "pt");
  CHECK(parsed.tensors[0].name == "a \"name\" é");
  CHECK(parsed.tensors[0].begin == tensors[1].begin);
  CHECK(parsed.tensors[1].end == tensors[2].end);
  CHECK(parsed.tensors[2].shape == std::vector<int64_t>{2, 3});
}
