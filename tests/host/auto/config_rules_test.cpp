#include "host/auto/auto_fixture.h"

using namespace auto_test;

namespace {
struct FakeBert : MineConfig {
  static constexpr const char* model_type = "bert";
};
}  // namespace

TEST_CASE("AC-01: auto classes cannot be constructed") {
  CHECK_FALSE(std::is_default_constructible_v<AutoConfig>);
}

TEST_CASE("AC-02: config.json's type comes before the name") {
  const Folder folder(Files{{"config.json", R"({"model_type":"bert"})"}}, "llama-thing");
  CHECK(ask("", folder).text("config_class") == "BertConfig");
}

TEST_CASE("AC-03: a folder, or a configuration file of any name") {
  install();
  const Folder folder(Files{{"other.json", R"({"model_type":"mine","width":3})"}, {"sub/third.json", R"({"model_type":"mine","width":4})"}});
  CHECK(ask("AutoConfig", folder.path() + "/other.json").json["config"]["width"] == 3);
  CHECK(ask("AutoConfig", "third.json", concat("{\"subfolder\":\"", folder.path(), "/sub\"}")).json["config"]["width"] == 4);
  CHECK(ask("AutoConfig", folder.path() + "/none.json").code() == "not_found");
  CHECK(ask("AutoConfig", folder.path() + "/none").says(folder.path() + "/none"));
}

TEST_CASE("AC-04: a type that is given and not known is an error, whatever the name says") {
  const Folder wrong(Files{{"config.json", R"({"model_type":"BERT"})"}}, "bert-base");
  CHECK(ask("AutoConfig", wrong).code() == "unknown_model_type");
  CHECK(ask("AutoConfig", wrong).says("did you mean 'bert'"));
  CHECK(ask("AutoConfig", wrong).text("model_type") == "BERT");
  CHECK(ask("", Folder(Files{{"config.json", R"({"model_type":null})"}}, "bert-base")).code() == "unknown_model_type");
  CHECK(ask("", Folder(Files{{"config.json", R"({"model_type":7})"}}, "bert-base")).code() == "unknown_model_type");
}

TEST_CASE("AC-05: without model_type, the longest type in the whole path decides") {
  const auto type_of = [](const std::string& last) { return ask("", Folder(Files{{"config.json", "{}"}}, last)).text("model_type"); };
  CHECK(type_of("my-roberta-x") == "roberta");
  CHECK(type_of("xlm-roberta-xl-1") == "xlm-roberta-xl");
  CHECK(type_of("empty") == "mpt");
  CHECK(type_of("git/neutral") == "git");
  CHECK(type_of("llama-files/x") == "llama");
  CHECK(type_of("BERT") == "");
  const auto nothing = ask("", Folder(Files{{"config.json", "{}"}}));
  CHECK(nothing.code() == "no_model_type");
  CHECK(nothing.says("albert, align, altclip"));
}

TEST_CASE("AC-05: types registered at run time take part") {
  install();
  CHECK(ask("", Folder(Files{{"config.json", "{}"}}, "a-mine-b")).text("config_class") == "MineConfig");
}

TEST_CASE("AC-06: without config.json the name decides, too") {
  CHECK(ask("", Folder(Files{}, "bert-anything")).text("config_class") == "BertConfig");
  CHECK(ask("", Folder(Files{})).code() == "no_model_type");
}

TEST_CASE("AC-07: what is not JSON is an error that names the file") {
  for (const char* text : {"{", "{\"a\":\"\xff\"}", "\xef\xbb\xbf{}", ""}) {
    const auto answer = ask("AutoConfig", Folder(Files{{"config.json", text}}, "bert"));
    CHECK(answer.code() == "bad_config");
    CHECK(answer.says("config.json"));
  }
}

TEST_CASE("AC-08: JSON that is no object is the same error") {
  CHECK(ask("AutoConfig", Folder(Files{{"config.json", "[1]"}}, "bert")).code() == "bad_config");
}

TEST_CASE("AC-09: configuration_files picks the highest version that is not above ours, by the order of texts") {
  install();
  const Folder folder(Files{{"config.json", R"({"model_type":"mine","width":1,
      "configuration_files":["config.json","config.4.9.0.json","config.4.10.0.json","config.99.0.0.json","x.json"]})"},
                       {"config.4.9.0.json", R"({"model_type":"mine","width":9})"},
                       {"config.4.10.0.json", R"({"model_type":"mine","width":10})"},
                       {"config.99.0.0.json", R"({"model_type":"mine","width":99})"}});
  CHECK(ask("AutoConfig", folder).json["config"]["width"] == 9);
  CHECK(ask("AutoConfig", Folder(Files{{"config.json", R"({"configuration_files":["config.a/../../b.json"]})"}})).code() == "bad_file_name");
}

TEST_CASE("AC-10: timm's configurations are of type timm_wrapper") {
  CHECK(ask("", Folder(Files{{"config.json", R"({"pretrained_cfg":{}})"}})).text("config_class") == "TimmWrapperConfig");
}

TEST_CASE("AC-12: arguments override attributes, those of the file alone too; the others are unused") {
  install();
  const Folder folder(Files{{"config.json", R"({"model_type":"mine","own":1})"}});
  const auto answer = ask("AutoConfig", folder, R"({"width":5,"own":2,"foo":3,"cache_dir":"/nowhere","token":"x","revision":"r","trust_remote_code":true})");
  CHECK(answer.json["config"]["width"] == 5);
  CHECK(answer.json["config"]["own"] == 2);
  CHECK(answer.json["unused"] == parse_json(R"({"foo":3})", "x"));
  CHECK(ask("AutoConfig", folder).json["unused"] == Json::object());
}

TEST_CASE("AC-13: torch_dtype is set and stays unused") {
  install();
  const auto answer = ask("AutoConfig", Folder(Files{{"config.json", R"({"model_type":"mine"})"}}), R"({"torch_dtype":"float16"})");
  CHECK(answer.json["config"]["torch_dtype"] == "float16");
  CHECK(answer.json["unused"]["torch_dtype"] == "float16");
}

TEST_CASE("AC-15: aliases override under their mapped name") {
  install();
  const auto answer = ask("AutoConfig", Folder(Files{{"config.json", R"({"model_type":"mine"})"}}), R"({"hidden_size":6})");
  CHECK(answer.json["config"]["width"] == 6);
  CHECK_FALSE(answer.json["config"].contains("hidden_size"));
}

TEST_CASE("AC-21: the name is the argument, whatever the file says") {
  install();
  const Folder folder(Files{{"config.json", R"({"model_type":"mine","_name_or_path":"other/name","transformers_version":"4.1.0"})"}});
  const auto answer = ask("AutoConfig", folder);
  CHECK(answer.text("name_or_path") == folder.path());
  CHECK(answer.json["commit_hash"].is_null());
  CHECK(answer.json["config"]["transformers_version"] == "4.1.0");
  CHECK_FALSE(answer.json["config"].contains("_name_or_path"));
  CHECK(AutoConfig::from_pretrained(folder.path())->name_or_path == folder.path());
}

TEST_CASE("AC-22: token and use_auth_token together are an error") {
  const Folder folder(Files{{"config.json", R"({"model_type":"bert"})"}});
  for (const char* name : {"AutoConfig", "AutoTokenizer", "AutoModel", "AutoProcessor"}) {
    CHECK(ask(name, folder, R"({"token":"a","use_auth_token":"b"})").code() == "invalid_value");
  }
  CHECK(ask("", folder, R"({"use_auth_token":"b"})").warns("use_auth_token is deprecated"));
}

TEST_CASE("AC-23: for_model builds by type, fields over the defaults") {
  install();
  const auto config = AutoConfig::for_model("mine", {{"width", 2}});
  CHECK(dynamic_cast<MineConfig&>(*config).width == 2);
  CHECK_THROWS_WITH(AutoConfig::for_model("brat"), Catch::Contains("did you mean"));
}

TEST_CASE("AC-24: dispatch goes by the configuration class, so an alias has what its class has") {
  const Folder folder(Files{{"config.json", R"({"model_type":"code_llama"})"}});
  CHECK(ask("", folder).text("config_class") == "LlamaConfig");
  CHECK(ask("", folder).json["classes"]["AutoModelForQuestionAnswering"].is_null());
  CHECK(ask("AutoModelForQuestionAnswering", folder).text("class") == "LlamaForQuestionAnswering");
}

TEST_CASE("AC-25: the spellings that some classes write are read") {
  CHECK(ask("", Folder(Files{{"config.json", R"({"model_type":"mlcd_vision_model"})"}})).text("config_class") == "MLCDVisionConfig");
  CHECK(ask("", Folder(Files{{"config.json", R"({"model_type":"vit-hybrid"})"}})).text("config_class") == "ViTHybridConfig");
}

TEST_CASE("AC-26: hub arguments have no effect on a folder") {
  const Folder folder(Files{{"config.json", R"({"model_type":"bert"})"}});
  CHECK(ask("", folder, R"({"revision":"abc","token":"t","force_download":true,"cache_dir":"/none","code_revision":"d","local_files_only":true})").code() == "");
}

TEST_CASE("AC-27: subfolder stands in front of every file") {
  const Folder folder(Files{{"a/b/config.json", R"({"model_type":"bert"})"}, {"config.json", R"({"model_type":"gpt2"})"}});
  CHECK(ask("", folder, R"({"subfolder":"a/b"})").text("config_class") == "BertConfig");
  CHECK(ask("", folder, R"({"subfolder":"../x"})").code() == "bad_file_name");
}

TEST_CASE("AC-28, AC-29: registering a configuration") {
  CHECK_THROWS_WITH(AutoConfig::register_<MineConfig>("yours"), Catch::Contains("has model_type 'mine' and is registered as 'yours'"));
  CHECK_THROWS_WITH(AutoConfig::register_<FakeBert>(), Catch::Contains("model type 'bert' belongs to the built-in models"));
  install();
  AutoConfig::register_<MineConfig>();  // again: replaced
}

TEST_CASE("AC-30, AC-31: registering a model") {
  install();
  const ModelFactory make = [](const PretrainedConfig&) { return std::shared_ptr<PreTrainedModel>(); };
  CHECK_THROWS_WITH(register_model({"AutoModel", "mine", "M", "OtherConfig", make, nullptr}, "MineConfig"), Catch::Contains("OtherConfig"));
  CHECK_THROWS_WITH(register_model({"AutoModel", "bert", "M", "BertConfig", make, nullptr}, "BertConfig"), Catch::Contains("AutoModel for BertConfig"));
  register_model({"AutoModelForMine", "mine", "MineForMine", "MineConfig", make, nullptr}, "MineConfig");
  CHECK(ask("AutoModelForMine", Folder(Files{{"config.json", R"({"model_type":"mine"})"}})).text("class") == "MineForMine");
}

TEST_CASE("AC-32 to AC-34: registering preprocessing classes") {
  install();
  const auto add = [](PreprocessorEntry entry) { register_preprocessor(std::move(entry)); };
  CHECK_THROWS_WITH(add({"AutoTokenizer", "mine", "", "", nullptr}), Catch::Contains("expected a slow or a fast class"));
  CHECK_THROWS_WITH(add({"AutoTokenizer", "mine", "MineTokenizerFast", "", nullptr}), Catch::Contains("given as the slow one"));
  CHECK_THROWS_WITH(add({"AutoTokenizer", "mine", "", "MineTokenizer", nullptr}), Catch::Contains("given as the fast one"));
  CHECK_THROWS_WITH(add({"AutoFeatureExtractor", "wav2vec2", "X", "", nullptr}), Catch::Contains("built-in"));
  add({"AutoTokenizer", "mine", "MineTokenizer", "", nullptr});
  add({"AutoTokenizer", "mine", "", "MineTokenizerFast", nullptr});
  const Folder folder(Files{{"config.json", R"({"model_type":"mine"})"}});
  CHECK(ask("AutoTokenizer", folder).text("class") == "MineTokenizerFast");
  CHECK(ask("AutoTokenizer", folder, R"({"use_fast":false})").text("class") == "MineTokenizer");
}

TEST_CASE("AC-156: composites need their parts") {
  const auto answer = ask("AutoConfig", Folder(Files{{"config.json", R"({"model_type":"encoder-decoder","encoder":{"model_type":"bert"}})"}}));
  CHECK(answer.code() == "bad_config");
  CHECK(answer.says("'decoder'"));
  CHECK(ask("AutoTokenizer", Folder(Files{{"config.json", R"({"model_type":"rag"})"}})).code() == "bad_config");
  CHECK(ask("AutoConfig", Folder(Files{{"config.json", R"({"model_type":"encoder-decoder","encoder":{"model_type":"brat"},"decoder":{}})"}})).code() ==
        "unknown_model_type");
}

TEST_CASE("AC-160: an adapter without its base model says so") {
  CHECK(ask("AutoModel", Folder(Files{{"adapter_config.json", R"({"base_model_name_or_path":"x"})"}})).code() == "adapter_only");
}

TEST_CASE("a known type without its plugin answers from the table") {
  const auto answer = ask("AutoConfig", Folder(Files{{"config.json", R"({"model_type":"funnel","architectures":["FunnelBaseModel"]})"}}));
  CHECK(answer.code() == "plugin_not_installed");
  CHECK(answer.json["error"]["plugin"] == "funnel");
  CHECK(answer.text("config_class") == "FunnelConfig");
  CHECK(answer.json["classes"]["AutoModel"] == "FunnelBaseModel");
  CHECK(answer.json["architectures"][0] == "FunnelBaseModel");
}
