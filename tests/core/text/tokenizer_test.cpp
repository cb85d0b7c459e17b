#include "backplane/text/tokenizer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>

#include "backplane/base/json.h"

using namespace backplane;
using Ids = std::vector<int64_t>;

namespace {

// BERT in small: [PAD] [UNK] [CLS] [SEP] and a few words.
std::string bert_json() {
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[
    {"id":0,"content":"[PAD]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
    {"id":2,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
    {"id":3,"content":"[SEP]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
    "normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
    "pre_tokenizer":{"type":"BertPreTokenizer"},
    "post_processor":{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]},
    "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
    "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,
    "vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"the":4,"cafe":5,"##s":6,"中":7,".":8,"##the":9,"a":10}}})";
}

// Byte-level BPE whose vocabulary is the alphabet of `letters` and the results of `merges`.
std::string bpe_json(const std::string& letters, const std::vector<std::pair<std::string, std::string>>& merges,
                     const std::string& extra = "") {
  Json vocab = Json::object(), list = Json::array();
  const auto add = [&](const std::string& token) {
    if (!vocab.contains(token)) vocab[token] = vocab.size();
  };
  for (const char c : letters) add(std::string(1, c));
  add("Ġ");
  for (const auto& [left, right] : merges) {
    add(left);
    add(right);
    add(left + right);
    list.push_back(Json::array({left, right}));
  }
  return R"({"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false},)"
         R"("post_processor":null,"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":)" +
         vocab.dump() + ",\"merges\":" + list.dump() + extra + "}}";
}

std::string error_of(const std::string& json) {
  try {
    Tokenizer::from_json(json);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::bad_tokenizer);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a word-piece tokenizer gives ids, tokens, offsets, words and masks") {
  const auto tokenizer = Tokenizer::from_json(bert_json());
  const Encoding e = tokenizer->encode("The CAFÉs\t中.zzz");
  CHECK(e.ids == Ids{2, 4, 5, 6, 7, 8, 1, 3});
  CHECK(e.tokens == std::vector<std::string>{"[CLS]", "the", "cafe", "##s", "中", ".", "[UNK]", "[SEP]"});
  CHECK(e.offsets ==
        std::vector<Encoding::Offsets>{{0, 0}, {0, 3}, {4, 8}, {8, 9}, {10, 11}, {11, 12}, {12, 15}, {0, 0}});
  CHECK(e.word_ids == Ids{-1, 0, 1, 1, 2, 3, 4, -1});
  CHECK(e.special_tokens_mask == Ids{1, 0, 0, 0, 0, 0, 0, 1});
  CHECK(e.sequence_ids == Ids{-1, 0, 0, 0, 0, 0, 0, -1});
  CHECK(tokenizer->encode_ids("The CAFÉs\t中.zzz") == e.ids);
  CHECK(tokenizer->decode(e.ids, {.skip_special_tokens = true}) == "the cafes 中. [UNK]");

  const Encoding pair = tokenizer->encode_pair("the", "a.");
  CHECK(pair.ids == Ids{2, 4, 3, 10, 8, 3});
  CHECK(pair.type_ids == Ids{0, 0, 0, 1, 1, 1});
  CHECK(tokenizer->encode_words({"the", "thes"}).word_ids == Ids{-1, 0, 1, 1, -1});
}

TEST_CASE("truncation keeps what overflows, with a stride, and padding fills up") {
  const auto tokenizer = Tokenizer::from_json(bert_json());
  tokenizer->set_special_token("pad", "[PAD]");
  const BatchEncoding batch = tokenizer->encode_batch({"the a . the a", "a"}, {.padding = Padding::longest,
                                                                               .truncation = Truncation::longest_first,
                                                                               .max_length = 5,
                                                                               .stride = 1,
                                                                               .return_overflowing_tokens = true});
  CHECK(batch["input_ids"] == BatchEncoding::Rows{{2, 4, 10, 8, 3}, {2, 8, 4, 10, 3}, {2, 10, 3, 0, 0}});
  CHECK(batch["attention_mask"] == BatchEncoding::Rows{{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}, {1, 1, 1, 0, 0}});
  CHECK(batch.overflow_to_sample_mapping == Ids{0, 0, 1});
  CHECK_THROWS_AS(batch["pixel_values"], Error);
  CHECK_THROWS_AS(
      tokenizer->encode("the a the a", {.truncation = Truncation::longest_first, .max_length = 4, .stride = 5}), Error);
}

TEST_CASE("byte-level tokens cover parts of characters, and a stream waits for whole ones") {
  const auto tokenizer =
      Tokenizer::from_json(bpe_json("abc", {{"a", "b"}, {"Ġ", "ab"}, {"ð", "Ł"}, {"ĺ", "Ģ"}}, R"(,"unk_token":null)"));
  CHECK(tokenizer->encode("ab ab").tokens == std::vector<std::string>{"ab", "Ġab"});
  // U+1F600 is F0 9F 98 80, here in two tokens.
  CHECK(tokenizer->encode("😀").offsets == std::vector<Encoding::Offsets>{{0, 1}, {0, 1}});
  const auto a = *tokenizer->token_to_id("ðŁ"), b = *tokenizer->token_to_id("ĺĢ");
  CHECK(tokenizer->decode({a, b}) == "😀");
  CHECK(tokenizer->decode({a}) == "\xEF\xBF\xBD");
  DecodeStream stream(tokenizer);
  CHECK(stream.step(2) == "c");
  CHECK(stream.step(a) == std::nullopt);
  CHECK(stream.step(b) == "😀");
}

TEST_CASE("bytes that are no UTF-8 are read as Python replaces them") {
  const auto tokenizer = Tokenizer::from_json(bert_json());
  // An unpaired surrogate is three bytes, each replaced; U+FFFD itself goes in the normalizer.
  CHECK(tokenizer->encode("a\xED\xA0\x80.").offsets == std::vector<Encoding::Offsets>{{0, 0}, {0, 1}, {4, 5}, {0, 0}});
  CHECK(tokenizer->encode("a\xE4\xB8.").offsets[2] == Encoding::Offsets{2, 3});
}

TEST_CASE("added tokens take their blanks, keep to words and get the next id") {
  const auto tokenizer = Tokenizer::from_json(bert_json());
  CHECK(tokenizer->add_tokens(
            {{.content = "<m>", .lstrip = true}, {.content = "cat", .single_word = true}, {.content = "the"}}) == 3);
  CHECK(tokenizer->token_to_id("<m>") == 11);
  CHECK(tokenizer->token_to_id("the") == 4);
  CHECK(tokenizer->vocab_size() == 11);
  CHECK(tokenizer->vocab_size(true) == 13);
  const Encoding e = tokenizer->encode("a  <m> cat cats", {.add_special_tokens = false});
  CHECK(e.ids == Ids{10, 11, 12, 1});
  CHECK(e.offsets == std::vector<Encoding::Offsets>{{0, 1}, {1, 6}, {7, 10}, {11, 15}});
  CHECK(tokenizer->add_tokens({{.content = "<m>", .lstrip = true}}) == 0);
}

TEST_CASE("long words have the tokens that merging by rank gives") {
  // Random merges over three letters, each of parts that exist.
  std::mt19937 random(3);
  std::vector<std::string> tokens{"a", "b", "c"};
  std::vector<std::pair<std::string, std::string>> merges;
  while (merges.size() < 60) {
    const std::string left = tokens[random() % tokens.size()], right = tokens[random() % tokens.size()];
    if (left.size() + right.size() > 7 || std::find(tokens.begin(), tokens.end(), left + right) != tokens.end())
      continue;
    merges.emplace_back(left, right);
    tokens.push_back(left + right);
  }
  const auto tokenizer = Tokenizer::from_json(bpe_json("abc", merges));
  const auto expected = [&](const std::string& word) {
    std::vector<std::string> parts;
    for (const char c : word) parts.emplace_back(1, c);
    for (;;) {
      size_t best = merges.size(), at = 0;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        const size_t rank = static_cast<size_t>(
            std::find(merges.begin(), merges.end(), std::pair(parts[i], parts[i + 1])) - merges.begin());
        if (rank < best) best = rank, at = i;
      }
      if (best == merges.size()) return parts;
      parts[at] += parts[at + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
  };
  // Once before the search over tokens is set up, and once after so much text that it is.
  for (const bool searched : {false, true}) {
    if (searched) tokenizer->encode_ids(std::string(100'000, 'a'));
    for (int round = 0; round < 150; ++round) {
      std::string word;
      for (size_t i = 0, size = 1 + random() % (round % 5 == 0 ? 90 : 24); i < size; ++i) word += "abc"[random() % 3];
      CAPTURE(searched, word);
      CHECK(tokenizer->encode(word).tokens == expected(word));
    }
  }
}

TEST_CASE("time grows with the text, not with its square") {
  const auto tokenizer = Tokenizer::from_json(bpe_json("abc", {{"a", "a"}, {"aa", "aa"}, {"a", "b"}}));
  const auto seconds = [&](size_t size) {
    const std::string text(size, 'a');
    const auto start = std::chrono::steady_clock::now();
    CHECK(tokenizer->encode_ids(text).size() == size / 4);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  seconds(100'000);
  CHECK(seconds(4'000'000) < 100 * std::max(0.01, seconds(400'000)));
}

TEST_CASE("a tokenizer is written as it was read") {
  for (const std::string& json : {bert_json(), bpe_json("ab", {{"a", "b"}})}) {
    const auto tokenizer = Tokenizer::from_json(json);
    const std::string written = tokenizer->to_json();
    CHECK(Tokenizer::from_json(written)->to_json() == written);
    CHECK(Json::parse(written)["model"]["vocab"] == Json::parse(json)["model"]["vocab"]);
  }
}

TEST_CASE("a batch in threads equals one text after the other") {
  const auto tokenizer = Tokenizer::from_json(bert_json());
  std::vector<std::string> texts;
  for (int i = 0; i < 50; ++i)
    texts.push_back(std::string(static_cast<size_t>(i), ' ') + "the cafes " + std::to_string(i));
  const BatchEncoding batch = tokenizer->encode_batch(texts, {.threads = 4});
  for (size_t i = 0; i < texts.size(); ++i) CHECK(batch.encodings[i].ids == tokenizer->encode(texts[i]).ids);
}

TEST_CASE("malformed tokenizers are refused with file and key") {
  const auto model = [](const std::string& text) { return R"({"model":{"type":"BPE",)" + text + "}}"; };
  CHECK(error_of("{}") == "tokenizer.json: key 'model' is missing");
  CHECK(error_of(model(R"("vocab":{"a":2147483648},"merges":[])")) ==
        "tokenizer.json: model.vocab: the id 2147483648 of 'a' is out of range after 0 tokens");
  CHECK(error_of(model(R"("vocab":{"a":0,"b":0},"merges":[])")) ==
        "tokenizer.json: model.vocab: the id 0 belongs to both 'a' and 'b'");
  CHECK(error_of(model(R"("vocab":{"a":-1},"merges":[])"))
            .starts_with("tokenizer.json: model.vocab: expected an integer that is not negative"));
  CHECK(error_of(model(R"("vocab":{"a":0},"merges":["a b"])"))
            .starts_with("tokenizer.json: model.merges: the merge 'a b' needs 'b', which is not in the vocabulary"));
  CHECK(error_of(model(R"("vocab":{"a":0},"merges":["a"])")).find("is not two tokens") != std::string::npos);
  CHECK(
      error_of(
          R"({"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAEAAA=="},"model":{"type":"WordLevel","vocab":{},"unk_token":"u"}})") ==
      "tokenizer.json: normalizer.precompiled_charsmap: the double array has 256 bytes, 0 are there");
  CHECK(
      error_of(
          R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated","invert":false},"model":{"type":"WordLevel","vocab":{},"unk_token":"u"}})")
          .starts_with("tokenizer.json: pre_tokenizer.pattern.Regex: the regular expression '(a' does not compile"));
  CHECK(error_of(R"({"model":{"type":"Unigram","unk_id":3,"vocab":[["a",0.0]]}})") ==
        "tokenizer.json: model.unk_id: found 3, the vocabulary has 1 tokens");
  CHECK(error_of(std::string(100'000, '[')).starts_with("tokenizer.json: expected '{'"));
  // Holes are fine.
  CHECK(Tokenizer::from_json(model(R"("vocab":{"a":7},"merges":[])"))->encode("a").ids == Ids{7});
}

TEST_CASE("an expression that explodes is stopped") {
  const auto tokenizer = Tokenizer::from_json(
      R"({"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a+)+$"},"behavior":"Isolated","invert":false},"model":{"type":"WordLevel","vocab":{"u":0},"unk_token":"u"}})");
  try {
    tokenizer->encode(std::string(60, 'a') + "b");
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::limit_exceeded);
  }
}

TEST_CASE("a folder gives special tokens, lengths, sides and templates") {
  const std::string folder = (std::filesystem::temp_directory_path() / "backplane-tokenizer-test").string();
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/tokenizer.json") << bert_json();
  std::ofstream(folder + "/tokenizer_config.json")
      << R"({"tokenizer_class":"DistilBertTokenizer","model_max_length":8,"padding_side":"left","pad_token":"[PAD]","cls_token":{"content":"[CLS]"},"eos_token":"<e>","chat_template":"{{ x }}"})";
  const auto tokenizer = Tokenizer::from_folder(folder);
  CHECK(tokenizer->pad_token_id() == 0);
  CHECK(tokenizer->cls_token() == "[CLS]");
  CHECK(tokenizer->eos_token_id() == 11);
  CHECK(tokenizer->bos_token() == std::nullopt);
  CHECK(tokenizer->model_max_length() == 8);
  CHECK(tokenizer->padding_side() == Side::left);
  CHECK(tokenizer->model_input_names() == std::vector<std::string>{"input_ids", "attention_mask"});
  CHECK(tokenizer->chat_template() == "{{ x }}");
  CHECK(tokenizer->encode("a", {.padding = Padding::max_length}).ids == Ids{0, 0, 0, 0, 0, 2, 10, 3});

  tokenizer->save_pretrained(folder + "/again");
  const auto again = Tokenizer::from_folder(folder + "/again");
  CHECK(again->all_special_tokens() == tokenizer->all_special_tokens());
  CHECK(again->encode("the <e> a").ids == tokenizer->encode("the <e> a").ids);
  std::filesystem::remove_all(folder);
  CHECK_THROWS_AS(Tokenizer::from_folder(folder), Error);
}

TEST_CASE("no added token is taken from plain spans") {
  const auto tokenizer = Tokenizer::from_json(R"({"version":"1.0","truncation":null,"padding":null,
    "added_tokens":[{"id":6,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},
                    {"id":7,"content":"ab","single_word":false,"lstrip":false,"rstrip":false,"normalized":true,"special":false},
                    {"id":8,"content":"  ","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}],
    "normalizer":{"type":"Lowercase"},"pre_tokenizer":null,"post_processor":null,"decoder":null,
    "model":{"type":"BPE","unk_token":null,"vocab":{"a":0,"b":1,"s":2,"<":3,">":4," ":5},"merges":[]}})");
  using Ids = std::vector<int64_t>;
  CHECK(tokenizer->encode("<s>AB<s>").ids == Ids{6, 7, 6});
  CHECK(tokenizer->encode("<s>AB<s>", {.plain_spans = {{0, 3}}}).ids == Ids{3, 2, 4, 7, 6});
  CHECK(tokenizer->encode("<s>AB<s>", {.plain_spans = {{3, 8}}, .details = false}).ids == Ids{6, 0, 1, 3, 2, 4});
  // A token that only reaches into a span is none either; blanks are no special tokens.
  CHECK(tokenizer->encode("<s>  ", {.plain_spans = {{2, 5}}}).ids == Ids{3, 2, 4, 8});
}
