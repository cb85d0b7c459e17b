#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>

#include "golden/tokenizer_classes.h"

namespace fs = std::filesystem;
using namespace backplane::golden;

namespace {

// Classes that need another program's dictionary, or inputs beside text, and those whose own calls are not there.
constexpr const char* kOthers[] = {"BertweetTokenizer", "BioGptTokenizer", "CLIPTokenizer", "ClvpTokenizer", "CodeLlamaTokenizer", "CpmAntTokenizer", "CpmTokenizer", "DPRReaderTokenizer", "FSMTTokenizer",
                                   "FastSpeech2ConformerTokenizer", "FlaubertTokenizer", "GPTNeoXJapaneseTokenizer", "GPTSanJapaneseTokenizer", "JukeboxTokenizer", "LayoutLMv2Tokenizer",
                                   "LayoutLMv3Tokenizer", "LayoutXLMTokenizer", "LukeTokenizer", "MLukeTokenizer", "MarkupLMTokenizer", "MyT5Tokenizer", "NougatTokenizerFast",
                                   "Pop2PianoTokenizer", "ProphetNetTokenizer", "RagTokenizer", "RoCBertTokenizer", "RoFormerTokenizer", "SeamlessM4TTokenizer", "SpeechT5Tokenizer", "SplinterTokenizer",
                                   "TapasTokenizer", "TapexTokenizer", "TransfoXLTokenizer", "UdopTokenizer", "VitsTokenizer", "XLMProphetNetTokenizer", "XLMTokenizer", "llama3_tiktoken"};

}  // namespace

TEST_CASE("tokenizer classes answer as the reference's") {
  const char* root = std::getenv("BACKPLANE_FIXTURES");
  if (!root) {
    std::cerr << "skipped: BACKPLANE_FIXTURES is not set\n";
    return;
  }
  const char* cache = std::getenv("BACKPLANE_TOKENIZER_CACHE");
  const GoldenOptions options{.cache = cache ? cache : ""};
  size_t cases = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(root) / "preprocessing" / "tokenizers")) {
    if (!is_tokenizer_class_fixture(entry.path())) continue;
    const std::string name = entry.path().filename() == "cases.json" ? entry.path().parent_path().filename().string() : entry.path().stem().string();
    if (std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers)) continue;
    const GoldenResult result = run_tokenizer_class_fixture(entry.path(), options);
    cases += result.cases;
    INFO(result.kind << " " << result.name << ": " << result.failed_cases << " of " << result.cases << " differ; " << result.reason);
    CHECK(result.passed);
  }
  std::cerr << cases << " answers compared\n";
}
