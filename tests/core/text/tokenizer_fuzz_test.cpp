#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#define LLVMFuzzerTestOneInput fuzz_tokenizer
#include "../../../fuzz/tokenizer_fuzz.cpp"
#undef LLVMFuzzerTestOneInput

TEST_CASE("the tokenizer fuzzer survives mutations of valid tokenizers") {
  const std::vector<std::string> corpus{
      R"({"added_tokens":[{"id":5,"content":"<s>","single_word":true,"lstrip":true,"rstrip":true,"normalized":false,"special":true}],)"
      R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Replace","pattern":{"Regex":"\\s+"},"content":" "}]},)"
      R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a|b)+|\\w+"},"behavior":"MergedWithNext","invert":false},)"
      R"("post_processor":{"type":"BertProcessing","sep":["b",1],"cls":["a",0]},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true},)"
      R"("truncation":{"direction":"Left","max_length":4,"strategy":"LongestFirst","stride":1},)"
      R"("padding":{"strategy":{"Fixed":9},"direction":"Left","pad_to_multiple_of":4,"pad_id":0,"pad_type_id":0,"pad_token":"a"},)"
      R"("model":{"type":"WordPiece","unk_token":"a","continuing_subword_prefix":"##","max_input_chars_per_word":9,"vocab":{"a":0,"b":1,"##c":2,"He":3,"##l":4}}})",
      R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},"decoder":{"type":"ByteLevel"},)"
      R"("post_processor":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true},"model":{"type":"BPE","unk_token":"Ġ","fuse_unk":true,)"
      R"("vocab":{"Ġ":0,"a":1,"b":2,"ab":3,"Ġa":4,"l":5,"ll":6},"merges":["a b","Ġ a",["l","l"]]}})",
      R"({"normalizer":{"type":"Precompiled","precompiled_charsmap":"BAAAAAAEAAAAAGEA"},"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},)"
      R"("decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace","replacement":"▁"},{"type":"Strip","content":"a","start":1,"stop":0}]},)"
      R"("model":{"type":"Unigram","unk_id":0,"byte_fallback":true,"vocab":[["<unk>",0.0],["▁",-1.5],["a",-2],["▁a",-1e1],["<0xF0>",-3]]}})"};
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string text = corpus[random() % corpus.size()];
    for (int edits = static_cast<int>(random() % 4); edits >= 0; --edits) {
      const size_t at = random() % text.size();
      switch (random() % 5) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 20); break;
        case 2: text.insert(at, text.substr(random() % text.size(), random() % 30)); break;
        case 3: text.insert(at, std::to_string(static_cast<int64_t>(random()) << (random() % 32))); break;
        default: text.insert(at, 1, "{}[]\",:\\0"[random() % 9]);
      }
      if (text.empty()) text = "{";
    }
    fuzz_tokenizer(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }
}
