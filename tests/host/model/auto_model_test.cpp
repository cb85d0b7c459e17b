#include "backplane/host/auto_model.h"

#include <catch2/catch.hpp>

#include "backplane/host/auto_config.h"
#include "backplane/model/saving.h"
#include "backplane/nn/layers.h"
#include "backplane/registry/plugin_source.h"
#include "host/auto/auto_fixture.h"

using namespace auto_test;

namespace {

// Rules about models that were dispatched, on a type that this program registers itself.
struct TinyConfig : PretrainedConfig {
  static constexpr const char* model_type = "tiny-rules";
  int64_t vocab_size = 5;
  int64_t hidden_size = 3;
  int64_t num_hidden_layers = 2;
  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field(BACKPLANE_FIELD(vocab_size));
    field(BACKPLANE_FIELD(hidden_size));
    field(BACKPLANE_FIELD(num_hidden_layers));
  }
};

struct TinyPreTrained : PreTrainedModel {
  using Config = TinyConfig;
  using PreTrainedModel::PreTrainedModel;
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "model", .keep_in_fp32 = {"norm"}, .keep_in_fp32_strict = {"head_norm"}};
  }
  std::span<const std::string_view> arguments() const override {
    static constexpr std::array<std::string_view, 2> kNames = {"input_ids", "past_key_values"};
    return kNames;
  }
};

struct TinyModel : TinyPreTrained {
  static constexpr bool supports_sdpa = false;
  nn::Embedding embed;
  nn::Layers<nn::Linear> layers{nullptr};
  nn::LayerNorm norm;
  explicit TinyModel(const TinyConfig& c)
      : TinyPreTrained(c),
        embed(register_module("embed", nn::Embedding(c.vocab_size, c.hidden_size))),
        norm(register_module("norm", nn::LayerNorm(c.hidden_size))) {
    layers = register_module("layers", nn::Layers<nn::Linear>(c.num_hidden_layers, [&](int64_t) {
                               return nn::Linear(c.hidden_size, c.hidden_size);
                             }));
  }
  ModelOutput compute(const ModelInputs& inputs) override {
    Tensor x = embed(inputs["input_ids"]);
    for (auto& layer : *layers) x = layer(x);
    return {{"last_hidden_state", norm(x)}};
  }
};

struct TinyForCausalLM : TinyPreTrained {
  std::shared_ptr<TinyModel> model;
  nn::LayerNorm head_norm;
  nn::Linear lm_head;
  explicit TinyForCausalLM(const TinyConfig& c)
      : TinyPreTrained(c),
        model(register_module("model", std::make_shared<TinyModel>(c))),
        head_norm(register_module("head_norm", nn::LayerNorm(c.hidden_size))),
        lm_head(register_module("lm_head", nn::Linear(c.hidden_size, c.vocab_size, false))) {}
  void tie_weights() override { lm_head->tie_weight(model->embed->weight); }
  bool can_generate() const override { return true; }
  ModelOutput compute(const ModelInputs& inputs) override {
    const auto base = model->forward(inputs.select(model->arguments()));
    return {{"logits", lm_head(head_norm(base["last_hidden_state"]))}};
  }
};

// A model around another one of any type.
struct FrameConfig : PretrainedConfig {
  static constexpr const char* model_type = "frame-rules";
  std::shared_ptr<PretrainedConfig> text_config;
  void fields(FieldVisitor& field) override {
    PretrainedConfig::fields(field);
    field("text_config", text_config, "tiny-rules");
  }
};

struct FrameModel : PreTrainedModel {
  using Config = FrameConfig;
  std::shared_ptr<PreTrainedModel> language_model;
  explicit FrameModel(const FrameConfig& c)
      : PreTrainedModel(c),
        language_model(register_module("language_model", make_model(Auto::ForCausalLM, *c.text_config))) {}
  std::span<const std::string_view> arguments() const override { return language_model->arguments(); }
  ModelOutput compute(const ModelInputs& inputs) override { return (*language_model)(inputs); }
};

void install_tiny() {
  static const bool done = [] {
    AutoConfig::register_<TinyConfig>();
    AutoModel::register_<TinyConfig, TinyModel>();
    AutoModelForCausalLM::register_<TinyConfig, TinyForCausalLM>();
    AutoConfig::register_<FrameConfig>();
    AutoModel::register_<FrameConfig, FrameModel>();
    return true;
  }();
  (void)done;
}

// A saved TinyForCausalLM, every parameter of which is a count.
struct Saved {
  Folder folder{Files{}};
  ModelPtr model;
  Saved(const TinyConfig& given = {}, const SaveOptions& options = {}) {
    install_tiny();
    auto config = make_config<TinyConfig>();
    config->vocab_size = given.vocab_size;
    config->num_hidden_layers = given.num_hidden_layers;
    model = AutoModelForCausalLM::from_config(*config);
    float next = 0;
    at::NoGradGuard guard;
    for (auto& parameter : model->parameters()) parameter.fill_(next += 0.5f);
    save_pretrained(*model, folder.path(), options);
  }
  std::string path() const { return folder.path(); }
};

std::string error_code(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::string(to_string(error.code()));
  }
  return "";
}

const Tensor kIds = at::tensor({1, 2, 4}, at::kLong).unsqueeze(0);

}  // namespace

TEST_CASE("AC-30: a class of the program is dispatched to, and made by from_pretrained") {
  const Saved saved;
  CHECK(AutoModel::from_pretrained(saved.path())->name().ends_with("TinyModel"));
  CHECK(AutoModelForCausalLM::from_pretrained(saved.path())->name().ends_with("TinyForCausalLM"));
}

TEST_CASE("AC-41: config= is used as it is and never changed; other keywords are the model's own") {
  const Saved saved;
  auto config = make_config<TinyConfig>();
  PretrainedOptions options;
  options.config = config;
  const auto model = AutoModel::from_pretrained(saved.path(), options);
  CHECK(&model->config() != config.get());
  CHECK(config->torch_dtype == std::nullopt);
  CHECK(config->name_or_path.empty());
  options.overrides = {{"num_hidden_layers", Value(1)}};  // AC-42
  CHECK(error_code([&] { AutoModel::from_pretrained(saved.path(), options); }) == "unknown_argument");
}

TEST_CASE("AC-42, AC-107: attributes by keyword make a smaller or larger model; unknown keywords are refused") {
  const Saved saved;
  LoadingInfo info;
  PretrainedOptions options;
  options.overrides = {{"num_hidden_layers", Value(1)}};
  const auto smaller = AutoModelForCausalLM::from_pretrained(saved.path(), options, &info);
  CHECK(info.unexpected_keys == std::vector<std::string>{"model.layers.1.bias", "model.layers.1.weight"});
  options.overrides = {{"num_hidden_layers", Value(3)}};
  AutoModelForCausalLM::from_pretrained(saved.path(), options, &info);
  CHECK(info.missing_keys == std::vector<std::string>{"model.layers.2.bias", "model.layers.2.weight"});
  options.overrides = {{"vocab_size", Value(6)}};
  CHECK(error_code([&] { AutoModel::from_pretrained(saved.path(), options); }) == "shape_mismatch");
  options.overrides = {{"num_layres", Value(3)}};
  CHECK(error_code([&] { AutoModel::from_pretrained(saved.path(), options); }) == "unknown_argument");
}

TEST_CASE(
    "AC-45, AC-46: from_pretrained evaluates, from_config trains, with the dtype asked for or the configuration's") {
  const Saved saved;
  CHECK_FALSE(AutoModel::from_pretrained(saved.path())->is_training());
  auto config = make_config<TinyConfig>();
  CHECK(AutoModel::from_config(*config)->is_training());
  CHECK(AutoModel::from_config(*config)->dtype() == at::kFloat);
  config->torch_dtype = "bfloat16";
  CHECK(AutoModel::from_config(*config)->dtype() == at::kBFloat16);
  PretrainedOptions options;
  options.torch_dtype = "float64";
  CHECK(AutoModel::from_config(*config, options)->dtype() == at::kDouble);
  const auto made = AutoModel::from_config(*config);
  CHECK(&made->config() != config.get());
}

TEST_CASE("AC-95: a .bin file is read, and nothing in it runs") {
  const Saved saved({}, {.safe_serialization = false});
  CHECK_FALSE(std::filesystem::exists(saved.path() + "/model.safetensors"));
  const auto model = AutoModelForCausalLM::from_pretrained(saved.path());
  const auto expected = saved.model->parameters(), found = model->parameters();
  REQUIRE(found.size() == expected.size());
  for (size_t i = 0; i < found.size(); ++i) CHECK(at::equal(found[i], expected[i]));
}

TEST_CASE("AC-97: a prefix that the class does not have leaves everything missing, with a warning") {
  const Saved saved;
  const Saved other;
  NamedTensors tensors;
  for (const auto& item : AutoModelForCausalLM::from_pretrained(saved.path())->named_parameters()) {
    if (item.key() != "lm_head.weight") tensors.emplace_back("module." + item.key(), item.value());
  }
  save_checkpoint(other.path(), tensors);
  LoadingInfo info;
  WarningCollector collector;
  AutoModelForCausalLM::from_pretrained(other.path(), {}, &info);
  CHECK(info.missing_keys.size() == tensors.size());
  CHECK(info.unexpected_keys.size() == tensors.size());
  CHECK(collector.messages().size() >= 1);
}

TEST_CASE("AC-109: arguments of older releases have no effect") {
  const Saved saved;
  PretrainedOptions options;
  for (const char* name : {"resume_download", "_fast_init", "low_cpu_mem_usage"})
    set_option(options, name, Value(true));
  set_option(options, "mirror", Value("tuna"));
  CHECK(options.overrides.empty());
  CHECK(AutoModel::from_pretrained(saved.path(), options)->dtype() == at::kFloat);
}

TEST_CASE("AC-111: torch_dtype='auto' is the configuration's, else the first floating dtype of the weights") {
  const Saved saved;
  PretrainedOptions options;
  options.torch_dtype = "auto";
  auto json = read_json_file(saved.path() + "/config.json");
  json["torch_dtype"] = "bfloat16";
  saved.folder.write("config.json", json.dump());
  CHECK(AutoModel::from_pretrained(saved.path(), options)->dtype() == at::kBFloat16);
  json.erase("torch_dtype");
  json["dtype"] = "bfloat16";  // a key of later releases
  saved.folder.write("config.json", json.dump());
  CHECK(AutoModel::from_pretrained(saved.path(), options)->dtype() == at::kFloat);
}

TEST_CASE("AC-113: modules that need it stay float32 in half precision, the strict ones in bfloat16 too") {
  const Saved saved;
  const auto dtypes = [&](const char* wanted) {
    PretrainedOptions options;
    options.torch_dtype = wanted;
    const auto model = AutoModelForCausalLM::from_pretrained(saved.path(), options);
    std::map<std::string, at::ScalarType> found;
    for (const auto& item : model->named_parameters()) found[item.key()] = item.value().scalar_type();
    return found;
  };
  auto half = dtypes("float16");
  CHECK(half["model.norm.weight"] == at::kFloat);
  CHECK(half["head_norm.weight"] == at::kFloat);
  CHECK(half["model.layers.0.weight"] == at::kHalf);
  auto bfloat = dtypes("bfloat16");
  CHECK(bfloat["model.norm.weight"] == at::kBFloat16);
  CHECK(bfloat["head_norm.weight"] == at::kFloat);
}

TEST_CASE("AC-114, AC-115: sdpa where the class has it, else eager; asking a class for what it lacks is an error") {
  const Saved saved;
  CHECK(AutoModel::from_pretrained(saved.path())->config().attn_implementation == AttnImplementation::eager);
  CHECK(AutoModelForCausalLM::from_pretrained(saved.path())->config().attn_implementation == AttnImplementation::sdpa);
  PretrainedOptions options;
  options.attn_implementation = "sdpa";
  CHECK(error_code([&] { AutoModel::from_pretrained(saved.path(), options); }) == "invalid_value");
  options.attn_implementation = "eager";
  CHECK(AutoModelForCausalLM::from_pretrained(saved.path(), options)->config().attn_implementation ==
        AttnImplementation::eager);
}

TEST_CASE("AC-116, AC-117: classes that generate have a generation configuration, from its file or the model's") {
  const Saved saved;
  CHECK_FALSE(AutoModel::from_pretrained(saved.path())->generation_config.has_value());
  saved.folder.write("generation_config.json", R"({"max_new_tokens": 7})");
  CHECK(AutoModelForCausalLM::from_pretrained(saved.path())->generation_config->max_new_tokens == 7);
  saved.folder.write("generation_config.json", "{");
  CHECK(AutoModelForCausalLM::from_pretrained(saved.path())->generation_config->max_new_tokens == std::nullopt);
}

TEST_CASE("AC-118, AC-162: what was said about generation is saved in its own file, and nulled in config.json") {
  install_tiny();
  auto config = make_config<TinyConfig>();
  config->num_beams = 4;
  const auto model = AutoModelForCausalLM::from_config(*config);
  const Folder folder{Files{}};
  save_pretrained(*model, folder.path());
  const auto written = read_json_file(folder.path() + "/config.json");
  CHECK(written["num_beams"].is_null());
  CHECK(written["architectures"] == Json({"TinyForCausalLM"}));
  CHECK(written["torch_dtype"] == "float32");
  CHECK(written["model_type"] == "tiny-rules");
  CHECK_FALSE(written.contains("_name_or_path"));
  CHECK(read_json_file(folder.path() + "/generation_config.json")["num_beams"] == 4);
}

TEST_CASE("AC-163, AC-164: shards are read back, and a single file saved over them wins") {
  const Saved saved({}, {.max_shard_bytes = 100});
  CHECK(std::filesystem::exists(saved.path() + "/model.safetensors.index.json"));
  const auto sharded = AutoModelForCausalLM::from_pretrained(saved.path());
  for (auto& parameter : sharded->parameters()) CHECK(parameter.std(false).item<float>() == 0);
  const Tensor before = (*sharded)({{"input_ids", kIds}})["logits"];
  {
    at::NoGradGuard guard;
    for (auto& parameter : sharded->parameters()) parameter.mul_(2);
  }
  save_pretrained(*sharded, saved.path());
  const auto single = AutoModelForCausalLM::from_pretrained(saved.path());
  CHECK(at::equal((*single)({{"input_ids", kIds}})["logits"], (*sharded)({{"input_ids", kIds}})["logits"]));
  CHECK(before.sizes() == at::IntArrayRef({1, 3, 5}));
}

TEST_CASE("AC-91: weights are a folder's; a file of weights alone is no model") {
  const Saved saved;
  CHECK_FALSE(error_code([&] { AutoModel::from_pretrained(saved.path() + "/model.safetensors"); }).empty());
}

TEST_CASE("AC-159: a model inside a model is dispatched by its own configuration, attention included") {
  install_tiny();
  auto config = make_config<FrameConfig>();
  config->text_config = make_config("tiny-rules");
  dynamic_cast<TinyConfig&>(*config->text_config).num_hidden_layers = 1;
  PretrainedOptions options;
  options.attn_implementation = "eager";
  const Folder folder{Files{}};
  const auto made = AutoModel::from_config(*config, options);
  save_pretrained(*made, folder.path());
  CHECK(read_json_file(folder.path() + "/config.json")["text_config"]["model_type"] == "tiny-rules");
  LoadingInfo info;
  const auto model = AutoModel::from_pretrained(folder.path(), options, &info);
  CHECK(info.missing_keys.empty());
  CHECK(info.unexpected_keys.empty());
  const auto& inner = *dynamic_cast<FrameModel&>(*model).language_model;
  CHECK(inner.name().ends_with("TinyForCausalLM"));
  CHECK(inner.config().attn_implementation == AttnImplementation::eager);
  CHECK(at::equal((*model)({{"input_ids", kIds}})["logits"], (*made)({{"input_ids", kIds}})["logits"]));

  auto absent = make_config<FrameConfig>();
  absent->text_config = make_config("frame-rules");  // has no causal language model
  CHECK(error_code([&] { AutoModel::from_config(*absent); }) == "unrecognized_configuration_class");
}
