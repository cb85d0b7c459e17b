#include "backplane/formats/weight_files.h"

#include <boost/filesystem.hpp>
#include <catch2/catch.hpp>

#include "backplane/base/files.h"
#include "core/formats/bytes.h"

using namespace backplane;
using backplane::testing::error_of;
namespace fs = boost::filesystem;

namespace {

struct ModelFolder {
  fs::path path = fs::temp_directory_path() / fs::unique_path("backplane-%%%%%%%%");
  ModelFolder() { fs::create_directories(path); }
  ~ModelFolder() { fs::remove_all(path); }
  std::string text() const { return path.string(); }
  ModelFolder& add(const std::string& name, const std::string& bytes = "") {
    write_file((path / name).string(), bytes);
    return *this;
  }
  std::vector<std::string> found(const WeightOptions& options = {}) const {
    std::vector<std::string> names;
    for (const auto& file : find_weight_files(text(), options).paths)
      names.push_back(fs::path(file).filename().string());
    return names;
  }
  std::pair<ErrorCode, std::string> refusal(const WeightOptions& options = {}) const {
    return error_of([&] { find_weight_files(text(), options); });
  }
};

using Names = std::vector<std::string>;
const std::string kIndex =
    R"({"metadata":{"total_size":8,"dtype":"bfloat16"},"weight_map":{"b":"s-2","a":"s-1","c":"s-2"}})";

}  // namespace

TEST_CASE("weight files are taken in the order of AC-88") {
  ModelFolder folder;
  folder.add("pytorch_model.bin.index.json", R"({"weight_map":{"a":"s-1"}})").add("s-1").add("s-2");
  CHECK(folder.found() == Names{"s-1"});
  folder.add("pytorch_model.bin");
  CHECK(folder.found() == Names{"pytorch_model.bin"});
  folder.add("model.safetensors.index.json", kIndex);
  CHECK(folder.found() == Names{"s-1", "s-2"});
  folder.add("model.safetensors");
  CHECK(folder.found() == Names{"model.safetensors"});
  CHECK(folder.found({.use_safetensors = false}) == Names{"pytorch_model.bin"});
  CHECK(find_weight_files(folder.text(), {.use_safetensors = false}).format == WeightFiles::Format::pytorch);
  CHECK(folder.found({.explicit_file = "model.safetensors.index.json"}) == Names{"s-1", "s-2"});
  folder.add("other.safetensors").add("w.gguf");
  CHECK(folder.found({.explicit_file = "other.safetensors"}) == Names{"other.safetensors"});
  CHECK(folder.found({.gguf_file = "w.gguf"}) == Names{"w.gguf"});
  CHECK(folder.refusal({.explicit_file = "other.bin"}).first == ErrorCode::bad_config);
  CHECK(folder.refusal({.explicit_file = "absent.safetensors"}).first == ErrorCode::file_not_found);
  CHECK(folder.refusal({.explicit_file = "../other.safetensors"}).first == ErrorCode::bad_file_name);
}

TEST_CASE("a variant stands before the last extension and has no fall-back (AC-90)") {
  ModelFolder folder;
  folder.add("model.safetensors");
  const auto [code, message] = folder.refusal({.variant = "fp16"});
  CHECK(code == ErrorCode::file_not_found);
  CHECK(message.find("pytorch_model.fp16.bin or model.fp16.safetensors found") != std::string::npos);
  CHECK(message.find("use `variant=None`") != std::string::npos);
  folder.add("model.safetensors.index.fp16.json", kIndex).add("s-1").add("s-2");
  CHECK(folder.found({.variant = "fp16"}) == Names{"s-1", "s-2"});
  folder.add("model.fp16.safetensors");
  CHECK(folder.found({.variant = "fp16"}) == Names{"model.fp16.safetensors"});
}

TEST_CASE("missing weights are named as the reference does (AC-88, AC-89)") {
  ModelFolder folder;
  CHECK(folder.refusal() == std::pair(ErrorCode::file_not_found,
                                      "no file named pytorch_model.bin, model.safetensors, tf_model.h5, "
                                      "model.ckpt.index or flax_model.msgpack found in directory '" +
                                          folder.text() + "'"));
  CHECK(folder.refusal({.use_safetensors = true}).second ==
        "no file named model.safetensors found in directory '" + folder.text() + "'");
  folder.add("flax_model.msgpack");
  CHECK(folder.refusal().second.find("Flax weights; use `from_flax=True`") != std::string::npos);
  folder.add("tf_model.h5");
  CHECK(folder.refusal().second.find("TensorFlow weights; use `from_tf=True`") != std::string::npos);
  folder.add("model.safetensors.index.json", kIndex).add("s-1");
  const auto [code, message] = folder.refusal();
  CHECK(code == ErrorCode::file_not_found);
  CHECK(message.find("does not appear to have 1 of the 2 shards that") != std::string::npos);
}

TEST_CASE("shard indexes are checked, and their shards stay in the folder") {
  const auto index = parse_shard_index(kIndex, "i");
  CHECK(index.shards == Names{"s-1", "s-2"});
  CHECK(index.weight_map.front() == std::pair<std::string, std::string>("b", "s-2"));
  CHECK(index.dtype == DType::bf16);
  CHECK_FALSE(parse_shard_index(R"({"weight_map":{"a":"s"}})", "i").dtype);

  const std::vector<std::pair<std::string, ErrorCode>> cases = {
      {R"([])", ErrorCode::bad_checkpoint},
      {R"({"metadata":{}})", ErrorCode::bad_checkpoint},
      {R"({"weight_map":{}})", ErrorCode::bad_checkpoint},
      {R"({"weight_map":[]})", ErrorCode::bad_checkpoint},
      {R"({"weight_map":{"a":1}})", ErrorCode::bad_checkpoint},
      {R"({"weight_map":)", ErrorCode::bad_checkpoint},
      {R"({"weight_map":{"a":"../s"}})", ErrorCode::bad_file_name},
      {R"({"weight_map":{"a":"/etc/passwd"}})", ErrorCode::bad_file_name},
      {R"({"weight_map":{"a":"s\u0000"}})", ErrorCode::bad_file_name},
      {R"({"weight_map":{"a":""}})", ErrorCode::bad_file_name},
      {R"({"weight_map":{"a":"d/s"}})", ErrorCode::bad_file_name},
  };
  for (const auto& [text, code] : cases) {
    INFO(text);
    CHECK(error_of([&, &text = text] { parse_shard_index(text, "i"); }).first == code);
  }
  std::string many = R"({"weight_map":{)";
  for (int i = 0; i <= 10'000; ++i) many += concat(i ? "," : "", "\"", i, "\":\"s", i, "\"");
  CHECK(error_of([&] { parse_shard_index(many + "}}", "i"); }).first == ErrorCode::limit_exceeded);

  ModelFolder outside;
  outside.add("secret");
  ModelFolder folder;
  folder.add("model.safetensors.index.json", R"({"weight_map":{"a":"link"}})");
  fs::create_symlink(outside.path / "secret", folder.path / "link");
  CHECK(folder.refusal().first == ErrorCode::bad_file_name);
}
