#include <random>

#define LLVMFuzzerTestOneInput fuzz_config
#include "../../../fuzz/config_fuzz.cpp"
#include "core/config/toy_configs.h"

using namespace toy;

TEST_CASE("config reads its keys over the defaults, and derives as the constructor does") {
  const auto config = read(R"({"model_type":"toy","n_embd":8,"n_head":2,"eps":1,"hidden_act":"relu","stages":[1,2],"limits":[0.0,Infinity],
                               "rope_scaling":{"type":"linear","factor":2.0},"use_cache":false,"picture":{"depths":[3]}})");
  CHECK(config->n_embd == 8);
  CHECK(config->eps == 1.0);
  CHECK(config->hidden_act == "relu");
  CHECK(config->stages == std::vector<int64_t>{1, 2});
  CHECK(config->limits[1] == HUGE_VAL);
  CHECK(config->rope_scaling.number_or("factor", 0) == 2.0);
  CHECK_FALSE(config->use_cache);
  CHECK(config->picture.depths == std::vector<int64_t>{3});
  CHECK(config->picture.hidden_size == 32);
  CHECK(config->num_key_value_heads == 2);
  CHECK(config->vocab_size == 100);
  CHECK(config->bos_token_id == 1);
}

TEST_CASE("config of the wrong kind is refused with file, key, found and expected") {
  CHECK(read_failure(R"({"n_embd":"768"})") == R"(bad_config: config.json: n_embd is "768"; expected a whole number)");
  CHECK(read_failure(R"({"hidden_size":"768"})") == R"(bad_config: config.json: n_embd is "768"; expected a whole number)");
  CHECK(read_failure(R"({"n_embd":768.0})") == R"(bad_config: config.json: n_embd is 768.0; expected a whole number)");
  CHECK(read_failure(R"({"n_embd":null})") == R"(bad_config: config.json: n_embd is null; expected a whole number)");
  CHECK(read_failure(R"({"n_embd":true})") == R"(bad_config: config.json: n_embd is true; expected a whole number)");
  CHECK(read_failure(R"({"n_embd":99999999999999999999})") == R"(bad_config: config.json: n_embd is 1e+20; expected a whole number)");
  CHECK(read_failure(R"({"eps":"x"})") == R"(bad_config: config.json: eps is "x"; expected a number)");
  CHECK(read_failure(R"({"hidden_act":3})") == R"(bad_config: config.json: hidden_act is 3; expected a text)");
  CHECK(read_failure(R"({"use_cache":"yes"})") == R"(bad_config: config.json: use_cache is "yes"; expected true or false)");
  CHECK(read_failure(R"({"limits":1})") == R"(bad_config: config.json: limits is 1; expected a list)");
  CHECK(read_failure(R"({"stages":["a"]})") == R"(bad_config: config.json: stages is "a"; expected a whole number)");
  CHECK(read_failure(R"({"picture":{"hidden_size":[]}})") == R"(bad_config: config.json: picture.hidden_size is []; expected a whole number)");
  CHECK(read_failure(R"({"picture":"x"})") == R"(bad_config: config.json: picture is "x"; expected an object)");
  CHECK(read_failure(R"([1])") == R"(bad_config: config.json is [1]; expected an object)");
}

TEST_CASE("config sizes that no model could work with are refused") {
  CHECK(read_failure(R"({"vocab_size":0})") == "bad_config: config.json: vocab_size is 0; expected a number from 1 to 2147483648");
  CHECK(read_failure(R"({"hidden_size":-4})") == "bad_config: config.json: n_embd is -4; expected a number from 1 to 16777216");
  CHECK(read_failure(R"({"picture":{"hidden_size":0}})") == "bad_config: config.json: picture.hidden_size is 0; expected a number from 1 to 16777216");
  CHECK(read_failure(R"({"n_head":1000000})") == "bad_config: config.json: n_head is 1000000; expected a number from 0 to 65536");
  CHECK(read_failure(R"({"n_embd":10,"n_head":4})") == "bad_config: config.json: n_embd (10) is not divisible by n_head (4)");
}

TEST_CASE("config takes null, 0 and 1 for a switch, and null for an absent part") {
  const auto config = read(R"({"use_cache":null,"output_hidden_states":1,"picture":null,"architectures":null,"torch_dtype":null})");
  CHECK_FALSE(config->use_cache);
  CHECK(config->output_hidden_states);
  CHECK(config->picture.hidden_size == 32);
  CHECK_FALSE(config->architectures);
}

TEST_CASE("AC-12: keywords that name an attribute override it, keys of the file among them; the others are returned") {
  auto config = read(R"({"my_key":1})");
  CHECK(python_dumps(override_config(*config, json(R"({"n_embd":16,"my_key":{"a":2},"other":[1],"model_type":"x"})"))) == R"({"other": [1]})");
  CHECK(config->n_embd == 16);
  CHECK(*config->find_extra("my_key") == Value(Value::Object{{"a", 2}}));
  CHECK(config->model_type_name == "toy");
  CHECK(failure([&] { override_config(*config, json(R"({"n_embd":"a"})")); }) == R"(invalid_value: n_embd is "a"; expected a whole number)");
}

TEST_CASE("AC-13: torch_dtype as a keyword is kept as given, and stays unused") {
  auto config = read("{}");
  CHECK(python_dumps(override_config(*config, json(R"({"torch_dtype":"auto"})"))) == R"({"torch_dtype": "auto"})");
  CHECK(config->torch_dtype == "auto");
}

TEST_CASE("AC-14: torch_dtype in the file is the name of a dtype") {
  CHECK(read(R"({"torch_dtype":"bfloat16"})")->torch_dtype == "bfloat16");
  CHECK(read(R"({"torch_dtype":"half"})")->torch_dtype == "float16");
  CHECK(read_failure(R"({"torch_dtype":"float17"})") ==
        R"(bad_config: config.json: torch_dtype is "float17"; expected the name of a dtype, as 'float32' or 'bfloat16')");
  CHECK(read_failure(R"({"torch_dtype":"torch.float32"})") != "");
  const auto config = read(R"({"dtype":"float16"})");
  CHECK_FALSE(config->torch_dtype);
  CHECK(config->find_extra("dtype"));
}

TEST_CASE("AC-15: aliases are read, override, and are not written") {
  auto config = read(R"({"hidden_size":16,"n_head":2,"num_attention_heads":8})");
  CHECK(config->n_embd == 16);
  CHECK(config->n_head == 8);
  CHECK(override_config(*config, json(R"({"hidden_size":24})")).empty());
  CHECK(config->n_embd == 24);
  const Json written = write_config(*config);
  CHECK(written["n_embd"] == 24);
  CHECK_FALSE(written.contains("hidden_size"));
}

TEST_CASE("AC-16: a dictionary for a configuration inside replaces it, with defaults for what is missing") {
  auto config = read(R"({"picture":{"hidden_size":5,"depths":[9]},"text":{"model_type":"toy_picture","hidden_size":6,"depths":[8]}})");
  override_config(*config, json(R"({"picture":{"hidden_size":7},"text":{"hidden_size":3}})"));
  CHECK(config->picture.hidden_size == 7);
  CHECK(config->picture.depths == std::vector<int64_t>{2, 2});
  const auto& text = dynamic_cast<PictureConfig&>(*config->text);
  CHECK(text.hidden_size == 3);
  CHECK(text.depths == std::vector<int64_t>{2, 2});
}

TEST_CASE("AC-17: id2label wins over num_labels, with a warning") {
  WarningCollector warnings;
  const auto config = read(R"({"id2label":{"0":"a","10":"b","2":"c"},"num_labels":5})");
  CHECK(config->num_labels() == 3);
  CHECK(config->label(10) == "b");
  CHECK(config->label(7) == "LABEL_7");
  CHECK(config->label2id.is_null());
  REQUIRE(warnings.messages().size() == 1);
  CHECK(warnings.messages()[0] == R"(num_labels (5) does not fit id2label ({"0": "a", "10": "b", "2": "c"}); the number of labels will be overwritten to 3)");
}

TEST_CASE("AC-17: num_labels names the labels anew, where the count changes") {
  const auto config = read(R"({"num_labels":3,"label2id":{"x":0}})");
  CHECK(config->label(2) == "LABEL_2");
  CHECK(config->label2id.find("LABEL_2")->as_int() == 2);
  CHECK_FALSE(config->label2id.find("x"));

  auto named = read(R"({"id2label":{"0":"no","1":"yes"},"label2id":{"no":0,"yes":1}})");
  override_config(*named, json(R"({"num_labels":2})"));
  CHECK(named->label(1) == "yes");
  override_config(*named, json(R"({"num_labels":4})"));
  CHECK(named->label(1) == "LABEL_1");
  override_config(*named, json(R"({"id2label":{"0":"one"}})"));
  CHECK(named->num_labels() == 1);
  CHECK(named->label2id.find("LABEL_3"));  // not rebuilt
}

TEST_CASE("AC-17: contradictions and impossible labels are errors") {
  auto config = read("{}");
  CHECK(failure([&] { override_config(*config, json(R"({"num_labels":5,"id2label":{"0":"a"}})")); }) ==
        R"(invalid_value: num_labels (5) does not fit id2label ({"0": "a"}); leave one of them out)");
  CHECK(read_failure(R"({"id2label":["a"]})") == R"(bad_config: config.json: id2label is ["a"]; expected an object)");
  CHECK(read_failure(R"({"label2id":"a"})") == R"(bad_config: config.json: label2id is "a"; expected an object)");
  CHECK(read_failure(R"({"id2label":{"a":"b"}})") == R"(bad_config: config.json: id2label is "a"; expected whole numbers as keys)");
  CHECK(read_failure(R"({"num_labels":-1})") == "bad_config: config.json: num_labels is -1; expected a whole number, 0 or more");
  CHECK(read_failure(R"({"num_labels":1000000000000})").starts_with("limit_exceeded: "));
}

TEST_CASE("AC-18: problem_type is one of three") {
  CHECK(read(R"({"problem_type":"regression"})")->problem_type == "regression");
  CHECK(read_failure(R"({"problem_type":"guess"})") ==
        R"(bad_config: config.json: problem_type is "guess"; expected 'regression', 'single_label_classification' or 'multi_label_classification')");
}

TEST_CASE("AC-19: output_attentions needs eager attention, where the implementation was asked for") {
  auto config = read(R"({"_attn_implementation":"sdpa"})");
  CHECK(failure([&] { override_config(*config, json(R"({"output_attentions":true})")); }) ==
        "invalid_value: output_attentions is not supported when attn_implementation is 'sdpa'; set it to 'eager'");
  auto unset = read("{}");
  override_config(*unset, json(R"({"output_attentions":true})"));
  CHECK(unset->output_attentions);
  auto keyword = read("{}");
  CHECK(failure([&] { override_config(*keyword, json(R"({"attn_implementation":"sdpa","output_attentions":true})")); }) != "");
}

TEST_CASE("AC-20: attn_implementation of the file is not heard, the private key is") {
  const auto config = read(R"({"attn_implementation":"eager"})");
  CHECK_FALSE(config->attn_implementation_asked);
  CHECK_FALSE(write_config(*config).contains("attn_implementation"));
  auto own = read(R"({"_attn_implementation":"eager"})");
  CHECK(own->attn_implementation_asked == "eager");
  CHECK(override_config(*own, json(R"({"attn_implementation":"sdpa"})")).empty());
  CHECK(own->attn_implementation_asked == "eager");
}

TEST_CASE("AC-21: transformers_version keeps the file's value") {
  CHECK(read(R"({"transformers_version":"4.1.0"})")->transformers_version == "4.1.0");
}

TEST_CASE("config written reads back the same") {
  const auto config = read(R"({"model_type":"toy","n_embd":8,"unknown":{"a":[1,null,"é"]},"rope_scaling":[1,2.5],"id2label":{"3":"x"},
                               "torch_dtype":"float16","temperature":0.5,"top_k":null,"text":{"hidden_size":4},"auto_map":{"AutoConfig":"a.B"}})");
  const Json written = write_config(*config);
  CHECK(written["unknown"] == json(R"({"a":[1,null,"é"]})"));
  CHECK(written["top_k"].is_null());
  CHECK(written["temperature"] == 0.5);
  CHECK(written["id2label"] == json(R"({"3":"x"})"));
  CHECK(written["model_type"] == "toy");
  CHECK(written["text"]["model_type"] == "toy_picture");
  CHECK(written["picture"]["model_type"] == "toy_picture");
  auto again = make_config<ToyConfig>();
  read_config(*again, written, "again");
  CHECK(write_config(*again) == written);
}

TEST_CASE("AC-162: a saved config holds the class's own keys, and of the common ones those that differ") {
  const auto config = read(R"({"n_embd":8,"n_head":4,"bos_token_id":1,"eos_token_id":2,"picture":{"hidden_size":5}})");
  CHECK(config_to_json_string(*config) == R"({
  "bos_token_id": 1,
  "eos_token_id": 2,
  "eps": 1e-12,
  "hidden_act": "gelu",
  "limits": [
    0.0
  ],
  "model_type": "toy",
  "n_embd": 8,
  "n_head": 4,
  "num_key_value_heads": 4,
  "picture": {
    "depths": [
      2,
      2
    ],
    "hidden_size": 5,
    "model_type": "toy_picture"
  },
  "rope_scaling": null,
  "stages": null,
  "text": {
    "depths": [
      2,
      2
    ],
    "hidden_size": 32,
    "model_type": "toy_picture"
  },
  "transformers_version": "4.53.3",
  "use_cache": true,
  "vocab_size": 100
}
)");
}

TEST_CASE("config clones are apart from each other") {
  const auto config = read(R"({"text":{"hidden_size":4}})");
  const auto copy = std::dynamic_pointer_cast<ToyConfig>(config->clone());
  dynamic_cast<PictureConfig&>(*copy->text).hidden_size = 9;
  copy->n_embd = 1;
  CHECK(dynamic_cast<PictureConfig&>(*config->text).hidden_size == 4);
  CHECK(config->n_embd == 64);
  CHECK(copy->class_name == "ToyConfig");
}

TEST_CASE("config of a part takes its class from model_type") {
  const auto config = read(R"({"text":{"model_type":"toy","n_embd":12}})");
  CHECK(dynamic_cast<ToyConfig&>(*config->text).n_embd == 12);
  CHECK(read_failure(R"({"text":{"model_type":"nothing"}})") == "unknown_model_type: unknown type nothing");
  CHECK(read_failure(R"({"text":{"model_type":7}})") == "bad_config: config.json: text.model_type is 7; expected a text");
}

TEST_CASE("config reader survives mutated files") {
  install();
  const std::string good = write_config(*read(R"({"unknown":{"a":[1]},"text":{"hidden_size":4}})")).dump();
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = good;
    const int edits = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < edits; ++i) {
      constexpr std::string_view kBytes = "{}[]\",:0-9.eEtrunflse\\\x00\xff";
      bytes[random() % bytes.size()] = kBytes[random() % kBytes.size()];
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    fuzz_config(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
}
