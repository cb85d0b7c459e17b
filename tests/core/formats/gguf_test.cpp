#include "backplane/formats/gguf.h"

#include <catch2/catch.hpp>

#include "backplane/formats/gguf_mapping.h"
#include "core/formats/bytes.h"

using namespace backplane;
using namespace backplane::testing;

namespace {

GgufFile parse(const std::string& file) { return parse_gguf(as_bytes(file), file.size(), "f").value(); }

GgufBuilder small_model() {
  GgufBuilder gguf;
  gguf.text("general.architecture", "toy")
      .text("general.name", "My toy")
      .scalar("toy.block_count", 4, uint32_t{2})
      .scalar("toy.eps", 6, 1e-5f)
      .scalar("toy.flag", 7, uint8_t{1})
      .array("toy.heads", 5, std::vector<int32_t>{4, -1})
      .array("toy.one", 4, std::vector<uint32_t>{7})
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", "smollm")
      .texts("tokenizer.ggml.tokens", {"a", "b", "ab"})
      .array("tokenizer.ggml.token_type", 5, std::vector<int32_t>{3, 1, 1})
      .texts("tokenizer.ggml.merges", {"a b"})
      .scalar("tokenizer.ggml.bos_token_id", 4, uint32_t{2})
      .scalar("tokenizer.ggml.eos_token_id", 4, UINT32_MAX)
      .scalar("tokenizer.ggml.add_bos_token", 7, uint8_t{0})
      .tensor("token_embd.weight", {2, 3}, 0, std::string(24, 'x'))
      .tensor("blk.1.attn_q.weight", {32, 2}, 2, std::string(36, 'x'));
  return gguf;
}

const GgufMapping kMapping = {
    .architecture = "toy",
    .model_type = "toy_model",
    .keys = {{"block_count", "num_hidden_layers"},
             {"eps", "norm_eps"},
             {"heads", "heads"},
             {"one", "one"},
             {"absent", "absent"}},
    .tensors = {{"token_embd", "model.embed_tokens"},
                {"blk.{n}.attn_q", "model.layers.{n}.self_attn.q_proj", GgufTransform::unpermute_heads},
                {"blk.{n}.ssm_a", "layers.{n}.A_log"}},
    .constants = {{"use_cache", false}}};

}  // namespace

TEST_CASE("a GGUF directory gives metadata of every type, and tensors with PyTorch's shapes") {
  GgufBuilder builder;
  builder.scalar("u8", 0, uint8_t{200})
      .scalar("i8", 1, int8_t{-3})
      .scalar("u16", 2, uint16_t{60000})
      .scalar("i16", 3, int16_t{-300})
      .scalar("u32", 4, uint32_t{4000000000})
      .scalar("i32", 5, int32_t{-5})
      .scalar("f32", 6, 0.1f)
      .scalar("bool", 7, uint8_t{1})
      .text("text", "é")
      .scalar("u64", 10, uint64_t{1} << 62)
      .scalar("i64", 11, int64_t{-7})
      .scalar("f64", 12, 0.1)
      .array("list", 6, std::vector<float>{0.5f, -2})
      .array("wide", 10, std::vector<uint64_t>{~uint64_t{0}, 3});
  const std::string nested = little(uint32_t{9}) + little(uint64_t{2}) + little(uint32_t{0}) + little(uint64_t{1}) +
                             "\x05" + little(uint32_t{0}) + little(uint64_t{2}) + "\x06\x07";
  builder.entries += gguf_text("nested") + little(uint32_t{9}) + nested;
  ++builder.keys;
  builder.tensor("t", {2, 3}, 0, std::string(24, 'x')).tensor("q", {64, 5}, 8, std::string(2 * 5 * 34, 'x'));
  const GgufFile gguf = parse(builder.file());
  CHECK(gguf.version == 3);
  CHECK(*gguf.find("u8") == Value(200));
  CHECK(*gguf.find("i8") == Value(-3));
  CHECK(*gguf.find("u16") == Value(60000));
  CHECK(*gguf.find("i16") == Value(-300));
  CHECK(*gguf.find("u32") == Value(int64_t{4000000000}));
  CHECK(*gguf.find("i32") == Value(-5));
  CHECK(*gguf.find("f32") == Value(double{0.1f}));
  CHECK(*gguf.find("bool") == Value(true));
  CHECK(*gguf.find("text") == Value("é"));
  CHECK(*gguf.find("u64") == Value(int64_t{1} << 62));
  CHECK(*gguf.find("i64") == Value(-7));
  CHECK(*gguf.find("f64") == Value(0.1));
  CHECK(gguf.find_array("list")->at(1) == Value(-2.0));
  CHECK(gguf.find_array("wide")->at(0) == Value(18446744073709551616.0));
  CHECK(gguf.find_array("wide")->at(1) == Value(3));
  CHECK(gguf.find_array("nested")->numbers == std::vector<double>{5, 6, 7});
  CHECK(gguf.find("absent") == nullptr);

  REQUIRE(gguf.tensors.size() == 2);
  CHECK(gguf.tensors[0].shape == std::vector<int64_t>{3, 2});
  CHECK(gguf.tensors[0].begin % 32 == 0);
  CHECK(gguf.tensors[0].end - gguf.tensors[0].begin == 24);
  CHECK(gguf.tensors[1].type == GgmlType::Q8_0);
  CHECK(gguf.tensors[1].begin == gguf.tensors[0].begin + 32);
  CHECK(gguf.tensors[1].end - gguf.tensors[1].begin == 340);
}

TEST_CASE("a part of a GGUF file asks for more, and the directory alone is enough") {
  const GgufBuilder builder = small_model();
  const std::string file = builder.file();
  const size_t head = builder.head().size();
  for (size_t size = 0; size < head; ++size) REQUIRE_FALSE(parse_gguf(as_bytes(file).first(size), file.size(), "f"));
  CHECK(parse_gguf(as_bytes(file).first(head), file.size(), "f")->tensors.size() == 2);
  for (size_t size = 0; size < file.size(); ++size) {
    const std::string cut = file.substr(0, size);
    INFO(size);
    CHECK(error_of([&] { parse(cut); }).first == ErrorCode::bad_checkpoint);
  }
}

TEST_CASE("malformed GGUF files are refused") {
  const auto message = [](const std::string& file) {
    const auto [code, text] = error_of([&] { parse(file); });
    CHECK((code == ErrorCode::bad_checkpoint || code == ErrorCode::limit_exceeded));
    return text;
  };
  const auto says = [&](const std::string& file, const std::string& reason) {
    const std::string text = message(file);
    INFO(text);
    CHECK(text.find(reason) != std::string::npos);
  };
  const auto with = [](const std::vector<uint64_t>& sizes, uint32_t type, size_t bytes) {
    return GgufBuilder().tensor("t", sizes, type, std::string(bytes, 'x')).file();
  };
  says("GGML0000000000000000000000000000", "does not begin with 'GGUF'");
  says("version https://git-lfs.github.com/spec/v1\n", "git-lfs");
  says("GGUF" + little(uint32_t{1}) + std::string(16, '\0'), "version 1");
  says("GGUF" + little(uint32_t{0x03000000}) + std::string(16, '\0'), "little-endian");
  says("GGUF" + little(uint32_t{3}) + little(uint64_t{1} << 40) + little(uint64_t{0}), "tensors");
  says("GGUF" + little(uint32_t{3}) + little(uint64_t{0}) + little(uint64_t{1} << 40), "keys");
  GgufBuilder keys;
  keys.keys = 1;
  keys.entries = little(~uint64_t{0});
  says(keys.file() + std::string(64, 'x'), "truncated");
  keys.entries = gguf_text("k") + little(uint32_t{13}) + std::string(8, '\0');
  says(keys.file(), "unknown type 13 under k");
  keys.entries = gguf_text("k") + little(uint32_t{9}) + little(uint32_t{0}) + little(uint64_t{1} << 60);
  says(keys.file(), "k claims 1152921504606846976 elements");
  keys.entries = gguf_text("k") + little(uint32_t{9});
  for (int i = 0; i < 8; ++i) keys.entries += little(uint32_t{9}) + little(uint64_t{1});
  says(keys.file(), "arrays deeper than 4");
  says(GgufBuilder().text("k", "\xff").file(), "not UTF-8");
  says(GgufBuilder().text("k", "").scalar("k", 0, uint8_t{1}).file(), "key k twice");
  says(GgufBuilder().scalar("general.alignment", 4, uint32_t{33}).file(), "a power of two");
  says(GgufBuilder().scalar("general.alignment", 4, uint32_t{0}).file(), "a power of two");
  says(GgufBuilder().text("general.alignment", "x").file(), "a power of two");
  says(with({4}, 0, 15), "is truncated: tensor 't' ends at byte 16");
  says(with({16}, 8, 34), "rows of 16 elements; expected a multiple of 32");
  says(with({4}, 77, 16), "unknown type 77");
  says(with({uint64_t{1} << 62, uint64_t{1} << 62}, 0, 16), "size overflows");
  says(with({~uint64_t{0}}, 0, 16), "a dimension of 18446744073709551615");
  says(with({1, 1, 1, 1, 1, 1, 1, 1, 1}, 0, 4), "9 dimensions");
  says(GgufBuilder().tensor("t", {1}, 0, "xxxx").tensor("t", {1}, 0, "xxxx").file(), "two tensors 't'");
  GgufBuilder overlap;
  overlap.tensor("a", {16}, 0, std::string(64, 'x'));
  overlap.directory +=
      gguf_text("b") + little(uint32_t{1}) + little(uint64_t{1}) + little(uint32_t{0}) + little(uint64_t{32});
  ++overlap.tensors;
  says(overlap.file(), "'a' and 'b' that overlap");
  GgufBuilder unaligned;
  unaligned.directory =
      gguf_text("b") + little(uint32_t{1}) + little(uint64_t{1}) + little(uint32_t{0}) + little(uint64_t{2});
  unaligned.tensors = 1;
  says(unaligned.file() + std::string(64, 'x'), "no multiple of 32");
}

TEST_CASE("AC-11: a plugin's table turns GGUF metadata into config.json and tensor names into its own") {
  const GgufFile gguf = parse(small_model().file());
  CHECK(gguf_config(gguf, kMapping) == Value::Object{{"model_type", "toy_model"},
                                                     {"_model_name_or_path", "My toy"},
                                                     {"num_hidden_layers", 2},
                                                     {"norm_eps", 9.999999747378752e-06},
                                                     {"heads", Value::List{4, -1}},
                                                     {"one", 7},
                                                     {"bos_token_id", 2},
                                                     {"eos_token_id", int64_t{4294967295}},
                                                     {"vocab_size", 3},
                                                     {"tie_word_embeddings", true},
                                                     {"use_cache", false}});
  CHECK(gguf_name("token_embd.weight", kMapping).name == "model.embed_tokens.weight");
  const auto q = gguf_name("blk.12.attn_q.bias", kMapping);
  CHECK(q.name == "model.layers.12.self_attn.q_proj.bias");
  CHECK(q.transform == GgufTransform::unpermute_heads);
  CHECK(gguf_name("blk.0.ssm_a", kMapping).name == "layers.0.A_log");
  for (const char* unknown :
       {"blk.x.attn_q.weight", "blk..attn_q.weight", "blk.1.attn_k.weight", "output.weight", ""}) {
    CHECK(gguf_name(unknown, kMapping).name == "");
  }

  GgufMapping special = kMapping;
  special.name_contains = "toy";
  GgufMapping other = kMapping;
  other.architecture = "other";
  CHECK(choose_gguf_mapping(gguf, {&special, &kMapping}) == &special);
  CHECK(choose_gguf_mapping(gguf, {&kMapping, &special}) == &special);
  special.name_contains = "mistral";
  CHECK(choose_gguf_mapping(gguf, {&special, &kMapping}) == &kMapping);
  CHECK(choose_gguf_mapping(gguf, {&special, &other}) == nullptr);
}

TEST_CASE("a GGUF vocabulary is read and checked") {
  const auto tokenizer = read_gguf_tokenizer(parse(small_model().file()), "f");
  CHECK(tokenizer.model == "gpt2");
  CHECK(tokenizer.pre == "smollm");
  CHECK(tokenizer.tokens == std::vector<std::string>{"a", "b", "ab"});
  CHECK(tokenizer.types == std::vector<int32_t>{3, 1, 1});
  CHECK(tokenizer.merges == std::vector<std::string>{"a b"});
  CHECK(tokenizer.bos == 2);
  CHECK_FALSE(tokenizer.eos);
  CHECK(tokenizer.add_bos == false);
  CHECK_FALSE(tokenizer.add_eos);

  const auto refusal = [](const GgufBuilder& builder) {
    return error_of([&] { read_gguf_tokenizer(parse(builder.file()), "f"); });
  };
  CHECK(refusal(GgufBuilder()).first == ErrorCode::bad_tokenizer);
  auto vocabulary = [] {
    return GgufBuilder().text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"a"});
  };
  CHECK(refusal(vocabulary()).second == "");
  CHECK(refusal(vocabulary().array("tokenizer.ggml.scores", 6, std::vector<float>{1, 2})).second ==
        "'f': tokenizer.ggml.scores has 2 elements; tokenizer.ggml.tokens has 1");
  CHECK(refusal(vocabulary().scalar("tokenizer.ggml.bos_token_id", 4, uint32_t{1})).second ==
        "'f': tokenizer.ggml.bos_token_id is 1; the vocabulary has 1 tokens");
  CHECK(refusal(vocabulary().array("tokenizer.ggml.merges", 4, std::vector<uint32_t>{1})).first ==
        ErrorCode::bad_tokenizer);
}
