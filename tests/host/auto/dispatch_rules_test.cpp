#include <ctime>
#include <thread>

#include "backplane/registry/known_models.h"
#include "host/auto/auto_fixture.h"

using namespace auto_test;

namespace {
Folder config_folder(const std::string& text) { return Folder(Files{{"config.json", text}}); }
// The class that dispatch found, though the plugin for the configuration may be absent.
std::string class_of(const std::string& auto_name, const std::string& config, const std::string& settings = "{}") {
  return ask(auto_name, config_folder(config), settings).text("class");
}
}  // namespace

TEST_CASE("AC-37: an auto class without an entry for the configuration names what is possible") {
  const auto answer = ask("AutoModelForCTC", config_folder(R"({"model_type":"bert"})"));
  CHECK(answer.code() == "unrecognized_configuration_class");
  CHECK(answer.says("AutoModelForCTC has no model for the configuration class BertConfig; expected one of "));
  CHECK(answer.says("Wav2Vec2Config"));
}

TEST_CASE("AC-38: architectures picks among several classes, with the prefixes of other frameworks") {
  CHECK(class_of("AutoModel", R"({"model_type":"funnel","architectures":["X","FunnelBaseModel"]})") == "FunnelBaseModel");
  CHECK(class_of("AutoModel", R"({"model_type":"funnel","architectures":["X"]})") == "FunnelModel");
  CHECK(class_of("AutoModelForImageClassification", R"({"model_type":"levit","architectures":["LevitForImageClassificationWithTeacher"]})") ==
        "LevitForImageClassificationWithTeacher");
}

TEST_CASE("AC-39: null architectures take the first class") {
  CHECK(class_of("AutoModel", R"({"model_type":"funnel","architectures":null})") == "FunnelModel");
  CHECK(class_of("AutoModel", R"({"model_type":"funnel"})") == "FunnelModel");
  CHECK(class_of("AutoModel", R"({"model_type":"funnel","architectures":[]})") == "FunnelModel");
}

TEST_CASE("AC-40: architectures replaces nothing else") {
  CHECK(class_of("AutoModel", R"({"model_type":"bert","architectures":["GPT2Model"]})") == "BertModel");
  CHECK(ask("AutoModel", config_folder(R"({"architectures":["BertModel"]})")).code() == "no_model_type");
}

TEST_CASE("AC-47: AutoModelWithLMHead works, and says that it is deprecated") {
  const auto answer = ask("AutoModelWithLMHead", config_folder(R"({"model_type":"bert"})"));
  CHECK(answer.text("class") == "BertForMaskedLM");
  CHECK(answer.warns("deprecated"));
}

TEST_CASE("AC-48: a class may stand under many auto classes") {
  CHECK(class_of("AutoModelForSeq2SeqLM", R"({"model_type":"t5"})") == "T5ForConditionalGeneration");
  CHECK(class_of("AutoModelForPreTraining", R"({"model_type":"t5"})") == "T5ForConditionalGeneration");
  CHECK(class_of("AutoModel", R"({"model_type":"dpr"})") == "DPRQuestionEncoder");
}

TEST_CASE("AC-49: types of tokenizers alone have classes, and no configuration") {
  const auto folder = config_folder(R"({"model_type":"byt5"})");
  CHECK(ask("", folder).json["classes"]["AutoTokenizer"] == "ByT5Tokenizer");
  CHECK(ask("AutoConfig", folder).code() == "unknown_model_type");
  CHECK(ask("AutoTokenizer", folder, R"({"tokenizer_type":"byt5"})").text("class") == "ByT5Tokenizer");
  CHECK(ask("AutoModel", config_folder(R"({"model_type":"vitmatte"})")).code() == "unrecognized_configuration_class");
}

TEST_CASE("AC-50: the trust matrix") {
  const std::string map = R"("auto_map":{"AutoConfig":"configuration_x.XConfig","AutoModel":"modeling_x.XModel"})";
  const auto local_and_remote = config_folder(R"({"model_type":"bert",)" + map + "}");
  CHECK(ask("AutoModel", local_and_remote).text("class") == "BertModel");
  CHECK_FALSE(ask("AutoModel", local_and_remote).warns("modeling_x"));
  CHECK(ask("AutoModel", local_and_remote, R"({"trust_remote_code":false})").text("class") == "BertModel");
  CHECK(ask("AutoModel", local_and_remote, R"({"trust_remote_code":true})").text("class") == "BertModel");
  CHECK(ask("AutoModel", local_and_remote, R"({"trust_remote_code":true})").warns("modeling_x.XModel"));

  const auto remote = config_folder(R"({"model_type":"brand-new",)" + map + "}");
  CHECK(ask("AutoConfig", remote).code() == "trust_required");
  CHECK(ask("AutoConfig", remote).says("--trust-remote-code"));
  CHECK(ask("AutoConfig", remote, R"({"trust_remote_code":false})").code() == "trust_required");
  CHECK(ask("AutoConfig", remote, R"({"trust_remote_code":true})").code() == "remote_code_is_python");
  CHECK(ask("AutoConfig", remote, R"({"trust_remote_code":true})").says("configuration_x.XConfig"));

  const auto local = config_folder(R"({"model_type":"bert"})");
  CHECK(ask("AutoModel", local, R"({"trust_remote_code":true})").text("class") == "BertModel");  // AC-59
  CHECK(ask("AutoModel", config_folder(R"({"model_type":"brand-new"})"), R"({"trust_remote_code":true})").code() == "unknown_model_type");
}

TEST_CASE("AC-53: the message names the folder, and the repository of the code where it is another") {
  const auto folder = config_folder(R"({"model_type":"new-one","auto_map":{"AutoConfig":"org/code--conf.XConfig"}})");
  const auto answer = ask("AutoConfig", folder);
  CHECK(answer.says(folder.path()));
  CHECK(answer.says("repository 'org/code'"));
}

TEST_CASE("AC-50: a head that only the repository has") {
  const auto folder = config_folder(R"({"model_type":"bert","auto_map":{"AutoModelForVideoClassification":"m.V"}})");
  CHECK(ask("AutoModelForVideoClassification", folder).code() == "trust_required");
  CHECK(ask("AutoModelForVideoClassification", folder, R"({"trust_remote_code":true})").code() == "remote_code_is_python");
  CHECK(ask("AutoModel", folder).text("class") == "BertModel");
}

TEST_CASE("AC-58: auto_map without an entry for the class, as a list, or null") {
  CHECK(ask("AutoConfig", config_folder(R"({"model_type":"new","auto_map":{"AutoModel":"m.X"}})"), R"({"trust_remote_code":true})").code() == "unknown_model_type");
  CHECK(ask("", config_folder(R"({"model_type":"bert","auto_map":["a.B",null]})")).code() == "");
  CHECK(ask("", config_folder(R"({"model_type":"bert","auto_map":null})")).code() == "");
}

TEST_CASE("AC-62: references are [repository--]module.Class") {
  for (const char* text : {"XConfig", "a.b.C", "a--b--c.D", ".C", "a.", "--a.B", ""}) {
    CAPTURE(text);
    const auto folder = config_folder(concat(R"({"model_type":"new-one","auto_map":{"AutoConfig":")", text, "\"}}"));
    CHECK(ask("AutoConfig", folder, R"({"trust_remote_code":true})").code() == "bad_code_reference");
  }
  CHECK(ask("AutoConfig", config_folder(R"({"model_type":"new-one","auto_map":{"AutoConfig":"sub/mod.X"}})"), R"({"trust_remote_code":true})").code() ==
        "remote_code_is_python");
  CHECK(ask("AutoConfig", config_folder(R"({"model_type":"new-one","auto_map":{"AutoConfig":7}})")).code() == "bad_code_reference");
}

TEST_CASE("AC-78: malformed ids and absent folders have errors of their own") {
  CHECK(ask("AutoModel", "/no/such/folder").code() == "not_found");
  CHECK(ask("AutoModel", "a/b/c").code() == "not_found");
  CHECK(ask("AutoTokenizer", "bad--id").code() == "invalid_repo_id");
}

TEST_CASE("AC-112, AC-115: values that no model takes are refused") {
  const auto folder = config_folder(R"({"model_type":"bert"})");
  CHECK(ask("AutoModel", folder, R"({"torch_dtype":"int8"})").code() == "invalid_value");
  CHECK(ask("AutoModel", folder, R"({"torch_dtype":"float17"})").code() == "invalid_value");
  CHECK(ask("AutoModel", folder, R"({"attn_implementation":"magic"})").code() == "invalid_value");
  CHECK(ask("AutoModel", folder, R"({"attn_implementation":"flash_attention_2"})").code() == "missing_dependency");
  CHECK(ask("AutoModel", folder, R"({"device_map":"auto"})").code() == "missing_dependency");  // AC-108
  CHECK(ask("AutoModel", folder, R"({"torch_dtype":"auto","attn_implementation":"eager"})").text("class") == "BertModel");
}

TEST_CASE("AC-154: timm backbones need timm") {
  CHECK(ask("AutoBackbone", config_folder("{}"), R"({"use_timm_backbone":true})").code() == "missing_dependency");
}

TEST_CASE("AC-153, AC-157: backbones and composites are dispatched by their configuration class") {
  CHECK(class_of("AutoBackbone", R"({"model_type":"resnet"})") == "ResNetBackbone");
  const std::string parts = R"("encoder":{"model_type":"bert"},"decoder":{"model_type":"bert"})";
  CHECK(class_of("AutoModelForSeq2SeqLM", R"({"model_type":"encoder-decoder",)" + parts + "}") == "EncoderDecoderModel");
  CHECK(ask("AutoModel", config_folder(R"({"model_type":"encoder-decoder",)" + parts + "}")).code() == "unrecognized_configuration_class");
}

TEST_CASE("unknown auto classes are named, with what was meant") {
  const auto folder = config_folder(R"({"model_type":"bert"})");
  CHECK(ask("AutoModelForCausaLM", folder).code() == "unknown_auto_class");
  CHECK(ask("AutoModelForCausaLM", folder).says("AutoModelForCausalLM"));
  CHECK(ask("TFAutoModel", folder).says("from_tf"));
  CHECK(ask("FlaxAutoModelForCausalLM", folder).says("from_flax"));
}

TEST_CASE("dispatch with an object: AC-37, AC-39, and its cost") {
  install();
  auto config = make_config<MineConfig>();
  CHECK(resolve_model_class("AutoModel", *config).class_name == "MineModel");
  CHECK_THROWS_WITH(resolve_model_class("AutoModelForCTC", *config), Catch::Contains("MineConfig"));

  const ModelFactory make = [](const PretrainedConfig&) { return std::shared_ptr<PreTrainedModel>(); };
  for (int i = 0; i < 1000; ++i) {
    Registration many;
    const auto provider = std::make_shared<Provider>(Provider{"many", "", "", false});
    many.models.push_back({"AutoModel", "many" + std::to_string(i), "ManyModel", "ManyConfig", make, provider});
    many.configs.push_back({"many" + std::to_string(i), "ManyConfig" + std::to_string(i), nullptr, provider});
    Registry::process().add(std::move(many));
  }
  const auto start = std::clock();  // of the processor: other work on the machine plays no part
  constexpr int kRounds = 2000;
  for (int i = 0; i < kRounds; ++i) resolve_model_class("AutoModel", *config);
  const double each = static_cast<double>(std::clock() - start) * 1e6 / CLOCKS_PER_SEC / kRounds;
  Registry::process().remove("many");
  INFO("microseconds a dispatch: " << each);
  CHECK(each < 20);
}

TEST_CASE("eight threads dispatch at the same time") {
  install();
  const Folder mine(Files{{"config.json", R"({"model_type":"mine","width":3})"}});
  const Folder bert(Files{{"config.json", R"({"model_type":"bert"})"}});
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) {
        if (i % 2 == 0) {
          right += dynamic_cast<MineConfig&>(*AutoConfig::from_pretrained(mine.path())).width == 3;
        } else {
          right += resolve_preprocessor("AutoTokenizer", bert.path()).class_name == "BertTokenizerFast";
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 160);
}

TEST_CASE("all 376 types: each auto class gives what the table lists") {
  size_t entries = 0;
  for (const auto& known : KnownModels::get().all()) {
    const auto folder = config_folder(concat("{\"model_type\":\"", known.model_type, "\"}"));
    const auto answer = ask("", folder);
    INFO(known.model_type << " " << answer.message());
    REQUIRE(answer.code() == "");
    CHECK(answer.text("config_class") == known.config_class);
    REQUIRE(answer.json["classes"].size() == 47);
    for (auto it = answer.json["classes"].begin(); it != answer.json["classes"].end(); ++it) entries += !it.value().is_null();
    for (const auto name : KnownModels::auto_classes()) {
      if (!std::string_view(name).starts_with("AutoModel") && name != "AutoBackbone") continue;
      const auto classes = known.models(name);
      CHECK(answer.text("model") == folder.path());
      CHECK(answer.json["classes"][std::string(name)] == (classes.empty() ? Json(nullptr) : Json(std::string(classes.front()))));
    }
  }
  // Sizes of the tables (AC section 1): 361 + 237 + 77 + 119 + 12 + 91 + those of the models.
  CHECK(entries == 361 + 237 + 77 + 119 + 12 + 91 + 1273);
}
