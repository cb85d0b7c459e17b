#include "host/auto/auto_fixture.h"

using namespace auto_test;

namespace {

std::string found(const std::string& auto_name, const Files& files, const std::string& settings = "{}") {
  return ask(auto_name, Folder(files), settings).found();
}
}  // namespace

TEST_CASE("AC-119: tokenizer_type, then tokenizer_config, then config's tokenizer_class, then its class") {
  const Files all = {{"tokenizer_config.json", R"({"tokenizer_class":"T5Tokenizer"})"},
                     {"config.json", R"({"model_type":"bert","tokenizer_class":"GPT2Tokenizer"})"}};
  CHECK(found("AutoTokenizer", all, R"({"tokenizer_type":"roberta"})") == "RobertaTokenizerFast");
  CHECK(found("AutoTokenizer", all) == "T5TokenizerFast");
  CHECK(found("AutoTokenizer", {all[1]}) == "GPT2TokenizerFast");
  CHECK(found("AutoTokenizer", {{"config.json", R"({"model_type":"bert"})"}}) == "BertTokenizerFast");
  CHECK(found("AutoTokenizer", {all[0], {"config.json", R"({"model_type":"no-such"})"}}) == "T5TokenizerFast");
}

TEST_CASE("AC-119: the default tokenizer_class of a configuration class counts") {
  CHECK(found("AutoTokenizer", {{"config.json", R"({"model_type":"umt5"})"}}) == "T5TokenizerFast");
}

TEST_CASE("AC-120: tokenizer_type must exist; a type without a fast class warns") {
  const Files bert = {{"config.json", R"({"model_type":"bert"})"}};
  CHECK(found("AutoTokenizer", bert, R"({"tokenizer_type":"brat"})") == "invalid_value");
  const auto slow = ask("AutoTokenizer", Folder(bert), R"({"tokenizer_type":"ctrl"})");
  CHECK(slow.text("class") == "CTRLTokenizer");
  CHECK(slow.warns("no fast version"));
}

TEST_CASE("AC-121: Fast is appended, never taken off") {
  const auto named = [](const char* name, const char* settings = "{}") {
    return found("AutoTokenizer", {{"tokenizer_config.json", concat(R"({"tokenizer_class":")", name, "\"}")}}, settings);
  };
  CHECK(named("BertTokenizer") == "BertTokenizerFast");
  CHECK(named("BertTokenizer", R"({"use_fast":false})") == "BertTokenizer");
  CHECK(named("BertTokenizerFast", R"({"use_fast":false})") == "BertTokenizerFast");
  CHECK(named("PreTrainedTokenizerFast", R"({"use_fast":false})") == "PreTrainedTokenizerFast");
  CHECK(named("CTRLTokenizer") == "CTRLTokenizer");
  CHECK(named("NoSuchTokenizer") == "unknown_class");
  CHECK(named("BertModel") == "unknown_class");
  CHECK(named("") == "unknown_class");
}

TEST_CASE("AC-122: a type with a fast class alone gives it in any case") {
  CHECK(found("AutoTokenizer", {{"config.json", R"({"model_type":"bloom"})"}}, R"({"use_fast":false})") == "BloomTokenizerFast");
}

TEST_CASE("AC-123: a configuration without a tokenizer is named") {
  const auto answer = ask("AutoTokenizer", Folder(Files{{"config.json", R"({"model_type":"vit"})"}}));
  CHECK(answer.code() == "unrecognized_configuration_class");
  CHECK(answer.says("ViTConfig"));
  CHECK(answer.says("BertConfig"));
}

TEST_CASE("AC-125: an encoder-decoder has its encoder's tokenizer") {
  const auto answer = ask("AutoTokenizer", Folder(Files{{"config.json", R"({"model_type":"encoder-decoder","encoder":{"model_type":"bert"},"decoder":{"model_type":"gpt2"}})"}}));
  CHECK(answer.text("class") == "BertTokenizerFast");
  CHECK(answer.warns("differs from the decoder's"));
}

TEST_CASE("AC-126: remote tokenizers are a pair, or in old files the whole auto_map") {
  const std::string map = R"("auto_map":{"AutoTokenizer":["tok.Slow","tok.Fast"]})";
  const Files known = {{"tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer",)" + map + "}"}};
  CHECK(found("AutoTokenizer", known) == "BertTokenizerFast");
  CHECK(ask("AutoTokenizer", Folder(known), R"({"trust_remote_code":true})").warns("tok.Fast"));
  CHECK(ask("AutoTokenizer", Folder(known), R"({"trust_remote_code":true,"use_fast":false})").warns("tok.Slow"));

  const Files own = {{"tokenizer_config.json", R"({"tokenizer_class":"OwnTokenizer","auto_map":["tok.Slow",null]})"}};
  CHECK(found("AutoTokenizer", own) == "trust_required");
  CHECK(found("AutoTokenizer", own, R"({"trust_remote_code":true})") == "remote_code_is_python");
  CHECK(found("AutoTokenizer", {{"tokenizer_config.json", R"({"tokenizer_class":"OwnTokenizer","auto_map":{"AutoTokenizer":"tok.Slow"}})"}},
              R"({"trust_remote_code":true})") == "remote_code_is_python");
  CHECK(found("AutoTokenizer", {{"tokenizer_config.json", R"({"tokenizer_class":"OwnTokenizer","auto_map":{"AutoTokenizer":[null,null]}})"}}) == "bad_code_reference");
}

TEST_CASE("AC-127: a remote tokenizer without tokenizer_class beside an unknown type") {
  CHECK(found("AutoTokenizer", {{"tokenizer_config.json", R"({"auto_map":{"AutoTokenizer":["t.S",null]}})"}, {"config.json", R"({"model_type":"new-one"})"}},
              R"({"trust_remote_code":true})") == "unknown_model_type");
}

TEST_CASE("AC-128: malformed tokenizer_config.json is a readable error") {
  CHECK(found("AutoTokenizer", {{"tokenizer_config.json", "{"}, {"config.json", R"({"model_type":"bert"})"}}) == "bad_config");
  CHECK(found("AutoTokenizer", {{"tokenizer_config.json", R"({"tokenizer_class":7})"}}) == "bad_config");
}

TEST_CASE("AC-133: a tokenizer takes every keyword") {
  const auto answer = ask("AutoTokenizer", Folder(Files{{"tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer","do_lower_case":true})"}}),
                          R"({"do_lower_case":false,"anything":[1]})");
  CHECK(answer.json["settings"]["do_lower_case"] == false);
  CHECK(answer.json["settings"]["anything"] == parse_json("[1]", "x"));
}

TEST_CASE("AC-137: image processors by type, by the old feature extractor's name, by config.json") {
  CHECK(found("AutoImageProcessor", {{"preprocessor_config.json", R"({"image_processor_type":"ViTImageProcessor"})"}}) == "ViTImageProcessor");
  CHECK(found("AutoImageProcessor", {{"preprocessor_config.json", R"({"feature_extractor_type":"ViTFeatureExtractor"})"}}) == "ViTImageProcessor");
  CHECK(found("AutoImageProcessor", {{"preprocessor_config.json", "{}"}, {"config.json", R"({"model_type":"vit","image_processor_type":"CLIPImageProcessor"})"}}) ==
        "CLIPImageProcessor");
  CHECK(found("AutoImageProcessor", {{"preprocessor_config.json", "{}"}, {"config.json", R"({"model_type":"vit"})"}}) == "ViTImageProcessor");
  CHECK(found("AutoImageProcessor", {{"config.json", R"({"model_type":"vit"})"}}) == "file_not_found");
  CHECK(found("AutoImageProcessor", {{"preprocessor_config.json", "{}"}, {"config.json", R"({"model_type":"bert"})"}}) == "unrecognized_processor");
  CHECK(found("AutoImageProcessor", {{"own.json", R"({"image_processor_type":"ViTImageProcessor"})"}}, R"({"image_processor_filename":"own.json"})") ==
        "ViTImageProcessor");
}

TEST_CASE("AC-138: a type that is named and unknown is an error, though config.json would know") {
  CHECK(found("AutoImageProcessor", {{"preprocessor_config.json", R"({"image_processor_type":"NoSuchImageProcessor"})"}, {"config.json", R"({"model_type":"vit"})"}}) ==
        "unknown_class");
}

TEST_CASE("AC-139: slow or fast") {
  const auto vit = [](const char* name, const char* settings) {
    return ask("AutoImageProcessor", Folder(Files{{"preprocessor_config.json", concat(R"({"image_processor_type":")", name, "\"}")}}), settings);
  };
  CHECK(vit("ViTImageProcessor", "{}").warns("a slow image processor is used"));
  CHECK(vit("ViTImageProcessorFast", "{}").found() == "ViTImageProcessorFast");
  CHECK(vit("ViTImageProcessor", R"({"use_fast":true})").found() == "ViTImageProcessorFast");
  CHECK(vit("ViTImageProcessorFast", R"({"use_fast":false})").found() == "ViTImageProcessor");
  CHECK(vit("VivitImageProcessor", R"({"use_fast":true})").found() == "VivitImageProcessor");
  CHECK(vit("VivitImageProcessor", R"({"use_fast":true})").warns("no fast version"));
  CHECK(vit("Llama4ImageProcessorFast", R"({"use_fast":false})").found() == "invalid_value");
}

TEST_CASE("AC-140, AC-141: aria, janus and llama4 have the classes that exist") {
  const auto of_type = [](const char* type) {
    return found("AutoImageProcessor", {{"preprocessor_config.json", "{}"}, {"config.json", concat(R"({"model_type":")", type, "\"}")}});
  };
  CHECK(of_type("aria") == "AriaImageProcessor");
  CHECK(of_type("janus") == "JanusImageProcessor");
  CHECK(of_type("llama4") == "Llama4ImageProcessorFast");
}

TEST_CASE("AC-143: a pair in auto_map works as a single reference does") {
  const Files files = {{"preprocessor_config.json", R"({"auto_map":{"AutoImageProcessor":["a.Slow","a.Fast"]}})"}};
  CHECK(found("AutoImageProcessor", files, R"({"trust_remote_code":true})") == "remote_code_is_python");
}

TEST_CASE("AC-144, AC-145: feature extractors") {
  CHECK(found("AutoFeatureExtractor", {{"preprocessor_config.json", R"({"feature_extractor_type":"Wav2Vec2FeatureExtractor"})"}}) == "Wav2Vec2FeatureExtractor");
  CHECK(found("AutoFeatureExtractor", {{"preprocessor_config.json", R"({"image_processor_type":"ViTImageProcessor"})"}, {"config.json", R"({"model_type":"vit"})"}}) ==
        "ViTFeatureExtractor");
  CHECK(found("AutoFeatureExtractor", {{"config.json", R"({"model_type":"wav2vec2"})"}}) == "file_not_found");
  CHECK(found("AutoFeatureExtractor", {{"preprocessor_config.json", R"({"feature_extractor_type":"NoSuch"})"}}) == "unknown_class");
  const auto answer = ask("AutoFeatureExtractor", Folder(Files{{"preprocessor_config.json", R"({"feature_extractor_type":"Wav2Vec2FeatureExtractor","sampling_rate":16000})"}}),
                          R"({"sampling_rate":8000,"padding_value":1.0})");
  CHECK(answer.json["settings"]["sampling_rate"] == 8000);
  CHECK(answer.json["unused"] == parse_json(R"({"padding_value":1.0})", "x"));
}

TEST_CASE("AC-146: video processors") {
  CHECK(found("AutoVideoProcessor", {{"video_preprocessor_config.json", R"({"video_processor_type":"LlavaNextVideoVideoProcessor"})"}}) == "LlavaNextVideoVideoProcessor");
  const auto old = ask("AutoVideoProcessor", Folder(Files{{"preprocessor_config.json", R"({"image_processor_type":"Qwen2VLImageProcessor"})"}}));
  CHECK(old.text("class") == "Qwen2VLVideoProcessor");
  CHECK(old.warns("deprecated"));
  CHECK(found("AutoVideoProcessor", {}) == "file_not_found");
}

TEST_CASE("AC-147: where a processor's class is looked for") {
  const Files all = {{"processor_config.json", R"({"processor_class":"CLIPProcessor"})"},
                     {"preprocessor_config.json", R"({"processor_class":"BlipProcessor"})"},
                     {"tokenizer_config.json", R"({"processor_class":"AlignProcessor"})"},
                     {"config.json", R"({"model_type":"wav2vec2","processor_class":"Wav2Vec2Processor"})"}};
  CHECK(found("AutoProcessor", all) == "CLIPProcessor");
  CHECK(found("AutoProcessor", {all.begin() + 1, all.end()}) == "BlipProcessor");
  CHECK(found("AutoProcessor", {all.begin() + 2, all.end()}) == "AlignProcessor");
  CHECK(found("AutoProcessor", {all.begin() + 3, all.end()}) == "Wav2Vec2Processor");
  CHECK(found("AutoProcessor", {{"config.json", R"({"model_type":"whisper"})"}}) == "WhisperProcessor");
  CHECK(found("AutoProcessor", {{"video_preprocessor_config.json", R"({"processor_class":"BlipProcessor"})"}}) == "BlipProcessor");
}

TEST_CASE("AC-148, AC-149: without a processor, the tokenizer, image processor or feature extractor") {
  CHECK(found("AutoProcessor", {{"processor_config.json", R"({"processor_class":"NoSuch"})"}, {"tokenizer_config.json", R"({"tokenizer_class":"BertTokenizer"})"}}) ==
        "BertTokenizerFast");
  CHECK(found("AutoProcessor", {{"config.json", R"({"model_type":"bert"})"}}) == "BertTokenizerFast");
  CHECK(found("AutoProcessor", {{"preprocessor_config.json", "{}"}, {"config.json", R"({"model_type":"vit"})"}}) == "ViTImageProcessor");
  CHECK(found("AutoProcessor", {}) == "no_model_type");
  CHECK(found("AutoProcessor", {{"processor_config.json", R"({"processor_class":"NoSuch"})"}}) == "unrecognized_processor");
}
