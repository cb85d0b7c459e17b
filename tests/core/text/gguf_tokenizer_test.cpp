#include "backplane/text/gguf_tokenizer.h"

#include <catch2/catch.hpp>

#include "backplane/base/json.h"
#include "core/formats/bytes.h"

using namespace backplane;
using backplane::testing::error_of;

namespace {

Json tokenizer_of(const GgufTokenizer& gguf) { return Json::parse(gguf_tokenizer_files(gguf, "f").tokenizer_json); }

GgufTokenizer byte_level(const std::string& pre) {
  return {.model = "gpt2",
          .pre = pre,
          .tokens = {"<s>", "a", "b", "Ġ", "ab", "<tool>"},
          .types = {3, 1, 1, 1, 1, 4},
          .merges = {"a b"},
          .bos = 0,
          .eos = 0,
          .chat_template = "{{ x }}"};
}

}  // namespace

TEST_CASE("a byte-level GGUF vocabulary becomes a tokenizer.json with the cut that the file names") {
  const Json smollm = tokenizer_of(byte_level("smollm"));
  CHECK(smollm["model"]["vocab"].dump() == R"({"<s>":0,"a":1,"b":2,"Ġ":3,"ab":4,"<tool>":5})");
  CHECK(smollm["model"]["merges"].dump() == R"([["a","b"]])");
  CHECK(smollm["model"]["ignore_merges"] == false);
  CHECK(smollm["added_tokens"].size() == 2);
  CHECK(smollm["added_tokens"][0]["special"] == true);
  CHECK(smollm["added_tokens"][1]["content"] == "<tool>");
  CHECK(smollm["added_tokens"][1]["special"] == false);
  CHECK(smollm["pre_tokenizer"]["pretokenizers"][0].dump() == R"({"type":"Digits","individual_digits":true})");
  CHECK(smollm["pre_tokenizer"]["pretokenizers"][1]["use_regex"] == true);
  CHECK(smollm["post_processor"].is_null());

  CHECK(tokenizer_of(byte_level("gpt-2"))["pre_tokenizer"]["type"] == "ByteLevel");
  CHECK(tokenizer_of(byte_level("qwen2"))["normalizer"]["type"] == "NFC");
  const Json llama3 = tokenizer_of(byte_level("llama-bpe"));
  CHECK(llama3["model"]["ignore_merges"] == true);
  CHECK(llama3["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"].get<std::string>().find("\\p{N}{1,3}") !=
        std::string::npos);
  CHECK(llama3["post_processor"]["single"].dump() ==
        R"([{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}])");
  CHECK(llama3["post_processor"]["special_tokens"].dump() == R"({"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}})");

  const auto [code, message] = error_of([] { tokenizer_of(byte_level("smolm")); });
  CHECK(code == ErrorCode::bad_tokenizer);
  CHECK(message.find("'smolm', a pre-tokenizer that is not known; did you mean smollm") != std::string::npos);

  const Json config = Json::parse(gguf_tokenizer_files(byte_level("smollm"), "f").tokenizer_config_json);
  CHECK(config["model_input_names"] == Json::array({"input_ids", "attention_mask"}));
  CHECK(config["bos_token"] == "<s>");
  CHECK(config["chat_template"] == "{{ x }}");
  CHECK_FALSE(config.contains("unk_token"));
}

TEST_CASE("SentencePiece vocabularies get their merges from the scores") {
  GgufTokenizer gguf{.model = "llama",
                     .tokens = {"<unk>", "<s>", "<0x0A>", "▁", "a", "b", "ab", "▁a", "▁ab"},
                     .scores = {0, 0, 0, -6, -4, -5, -1, -2, -3},
                     .types = {2, 3, 6, 1, 1, 1, 1, 1, 1},
                     .bos = 1,
                     .unknown = 0};
  const Json spm = tokenizer_of(gguf);
  CHECK(spm["model"]["merges"].dump() == R"([["a","b"],["▁","a"],["▁a","b"],["▁","ab"]])");
  CHECK(spm["model"]["byte_fallback"] == true);
  CHECK(spm["model"]["unk_token"] == "<unk>");
  CHECK(spm["normalizer"]["normalizers"].size() == 2);
  CHECK(spm["decoder"]["decoders"].size() == 4);
  CHECK(spm["post_processor"]["single"].size() == 2);
  CHECK(spm["added_tokens"].size() == 2);
  gguf.add_space_prefix = false;
  gguf.add_bos = false;
  const Json bare = tokenizer_of(gguf);
  CHECK(bare["normalizer"]["normalizers"].size() == 1);
  CHECK(bare["decoder"]["decoders"].size() == 3);
  CHECK(bare["post_processor"].is_null());
  gguf.scores.clear();
  CHECK(error_of([&] { tokenizer_of(gguf); }).first == ErrorCode::bad_tokenizer);
}

TEST_CASE("WordPiece vocabularies get their hashes back") {
  const GgufTokenizer gguf{.model = "bert",
                           .tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁play", "ing"},
                           .types = {3, 2, 3, 3, 1, 1},
                           .bos = 2,
                           .unknown = 1,
                           .padding = 0,
                           .separator = 3};
  const Json bert = tokenizer_of(gguf);
  CHECK(bert["model"]["vocab"].dump() == R"({"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"play":4,"##ing":5})");
  CHECK(bert["post_processor"]["pair"].size() == 5);
}

TEST_CASE("GGUF vocabularies that cannot be written as tokenizer.json are refused") {
  const auto code = [](const GgufTokenizer& gguf) { return error_of([&] { tokenizer_of(gguf); }).first; };
  CHECK(code({.model = "rwkv", .tokens = {"a"}}) == ErrorCode::bad_tokenizer);
  CHECK(code({.model = "gpt2", .tokens = {"\xff"}}) == ErrorCode::bad_tokenizer);
  CHECK(code({.model = "gpt2", .tokens = {std::string(1, '\0')}}) == ErrorCode::bad_tokenizer);
  CHECK(code({.model = "gpt2", .tokens = {"a"}, .merges = {"ab"}}) == ErrorCode::bad_tokenizer);
}
