#include "backplane/model/loading.h"

#include <boost/filesystem.hpp>
#include <catch2/catch.hpp>
#include <fstream>

#include "backplane/base/error.h"
#include "backplane/base/log.h"
#include "backplane/checkpoint/save.h"
#include "backplane/model/saving.h"
#include "backplane/nn/layers.h"

using namespace backplane;

namespace {

struct ToyConfig : PretrainedConfig {
  static constexpr const char* model_type = "toy";
};

struct ToyBase : PreTrainedModel {
  nn::Embedding embed;
  nn::Linear dense;
  explicit ToyBase(const PretrainedConfig& config)
      : PreTrainedModel(config),
        embed(register_module("embed", nn::Embedding(4, 2))),
        dense(register_module("dense", nn::Linear(2, 2))) {}
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "toy", .ignore_unexpected = {R"(^old\.)"}};
  }
  std::span<const std::string_view> arguments() const override { return {}; }
  ModelOutput compute(const ModelInputs&) override { return {}; }
};

struct ToyLM : PreTrainedModel {
  std::shared_ptr<ToyBase> toy;
  nn::Linear head;
  explicit ToyLM(const PretrainedConfig& config)
      : PreTrainedModel(config),
        toy(register_module("toy", std::make_shared<ToyBase>(config))),
        head(register_module("head", nn::Linear(2, 4, false))) {}
  CheckpointRules checkpoint_rules() const override {
    return {.base_model_prefix = "toy", .renames = {{R"(^toy\.(\w+)_old\.)", "toy.$1."}, {"^top", "head"}}};
  }
  void tie_weights() override {
    if (config().tie_word_embeddings) head->tie_weight(toy->embed->weight);
  }
  std::span<const std::string_view> arguments() const override { return {}; }
  ModelOutput compute(const ModelInputs&) override { return {}; }
};

struct Folder {
  boost::filesystem::path path =
      boost::filesystem::temp_directory_path() / boost::filesystem::unique_path("backplane-%%%%%%%%");
  Folder() { boost::filesystem::create_directories(path); }
  ~Folder() { boost::filesystem::remove_all(path); }
};

Tensor numbers(at::IntArrayRef shape, float from) {
  int64_t count = 1;
  for (int64_t size : shape) count *= size;
  return (at::arange(count, at::kFloat) + from).view(shape);
}

template <class Model>
struct Loaded {
  PretrainedConfig config;
  std::shared_ptr<Model> model;
  LoadingInfo info;
  std::vector<std::string> warnings;

  explicit Loaded(const NamedTensors& tensors, LoadOptions options = {}, bool tie = true) {
    Folder folder;
    save_safetensors((folder.path / "model.safetensors").string(), tensors);
    config.tie_word_embeddings = tie;
    model = std::make_shared<Model>(config);
    model->tie_weights();
    options.origin = "toy";
    WarningCollector collector;
    info = load_weights(*model, *Checkpoint::open(folder.path.string()), options);
    warnings = collector.messages();
  }
};

const NamedTensors kBase = {
    {"embed.weight", numbers({4, 2}, 0)}, {"dense.weight", numbers({2, 2}, 10)}, {"dense.bias", numbers({2}, 20)}};

NamedTensors with_prefix(const NamedTensors& tensors) {
  NamedTensors prefixed;
  for (const auto& [name, tensor] : tensors) prefixed.emplace_back("toy." + name, tensor);
  return prefixed;
}

}  // namespace

TEST_CASE("AC-96: a base checkpoint loads into a class with a head, and the reverse") {
  const Loaded<ToyLM> head(kBase);
  CHECK(head.info.missing_keys.empty());  // the head is tied to the embedding
  CHECK(at::equal(head.model->toy->dense->weight, numbers({2, 2}, 10)));
  CHECK(at::equal(head.model->head->weight, numbers({4, 2}, 0)));

  auto saved = with_prefix(kBase);
  saved.emplace_back("head.weight", numbers({4, 2}, 50));
  const Loaded<ToyBase> base(saved);
  CHECK(base.info.missing_keys.empty());
  CHECK(base.info.unexpected_keys == std::vector<std::string>{"head.weight"});
  CHECK(at::equal(base.model->dense->bias, numbers({2}, 20)));
}

TEST_CASE("AC-98: base parts with and without the prefix are refused") {
  auto saved = with_prefix(kBase);
  saved.emplace_back("dense.bias", numbers({2}, 0));
  CHECK_THROWS_WITH(Loaded<ToyBase>(saved), Catch::Contains("dense.bias"));
}

TEST_CASE("AC-101, AC-104: missing and unexpected names are those of the whole model, sorted, and warned of") {
  const Loaded<ToyLM> loaded(
      {{"toy.embed.weight", numbers({4, 2}, 0)}, {"toy.z", numbers({1}, 0)}, {"toy.a", numbers({1}, 0)}}, {}, false);
  CHECK(loaded.info.missing_keys == std::vector<std::string>{"head.weight", "toy.dense.bias", "toy.dense.weight"});
  CHECK(loaded.info.unexpected_keys == std::vector<std::string>{"toy.a", "toy.z"});
  CHECK(loaded.model->toy->dense->bias.abs().max().item<float>() == 0);
  CHECK(loaded.model->head->weight.isfinite().all().item<bool>());
  REQUIRE(loaded.warnings.size() == 1);
  CHECK_THAT(loaded.warnings[0], Catch::Contains("toy.dense.bias") && Catch::Contains("3 of 4"));
}

TEST_CASE("AC-99, AC-102: older names are read, names to ignore are not reported") {
  struct Norm : ToyBase {
    nn::LayerNorm LayerNorm;
    explicit Norm(const PretrainedConfig& config)
        : ToyBase(config), LayerNorm(register_module("LayerNorm", nn::LayerNorm(2))) {}
  };
  auto tensors = kBase;
  tensors.emplace_back("LayerNorm.gamma", numbers({2}, 5));
  tensors.emplace_back("LayerNorm.beta", numbers({2}, 7));
  tensors.emplace_back("embeddings.position_ids", numbers({3}, 0));
  tensors.emplace_back("old.thing", numbers({3}, 0));
  const Loaded<Norm> loaded(tensors);
  CHECK(loaded.info.missing_keys.empty());
  CHECK(loaded.info.unexpected_keys.empty());
  CHECK(at::equal(loaded.model->LayerNorm->weight, numbers({2}, 5)));
  CHECK(at::equal(loaded.model->LayerNorm->bias, numbers({2}, 7)));
}

TEST_CASE("AC-99, AC-100: renames apply to every name, the first that is found") {
  const Loaded<ToyLM> loaded({{"toy.embed_old.weight", numbers({4, 2}, 0)},
                              {"toy.dense_old.weight", numbers({2, 2}, 10)},
                              {"toy.dense_old.bias", numbers({2}, 20)},
                              {"top.weight", numbers({4, 2}, 30)}},
                             {}, false);
  CHECK(loaded.info.missing_keys.empty());
  CHECK(loaded.info.unexpected_keys.empty());
  CHECK(at::equal(loaded.model->toy->dense->bias, numbers({2}, 20)));
  CHECK(at::equal(loaded.model->head->weight, numbers({4, 2}, 30)));
}

TEST_CASE("AC-99: a model is saved under the older names that it reads") {
  Folder folder;
  PretrainedConfig untyped;
  CHECK_THROWS_WITH(save_pretrained(ToyLM(untyped), folder.path.string()), Catch::Contains("make_config"));
  const auto own = make_config<ToyConfig>();
  auto& config = *own;
  config.tie_word_embeddings = false;
  save_pretrained(ToyLM(config), folder.path.string());
  LoadingInfo info = load_weights(*std::make_shared<ToyLM>(config), *Checkpoint::open(folder.path.string()), {});
  CHECK(info.missing_keys.empty());
  std::ifstream file((folder.path / "model.safetensors").string(), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  CHECK(bytes.find("\"top.weight\"") != std::string::npos);
  CHECK(bytes.find("\"toy.dense.weight\"") != std::string::npos);
  CHECK(bytes.find("head.weight") == std::string::npos);
}

TEST_CASE("AC-103: another shape is an error with the whole name and both shapes, or starts anew where asked") {
  auto tensors = kBase;
  tensors[1].second = numbers({3, 2}, 0);
  CHECK_THROWS_WITH(Loaded<ToyBase>(tensors), Catch::Contains("size mismatch for dense.weight") &&
                                                  Catch::Contains("[3, 2]") && Catch::Contains("[2, 2]") &&
                                                  Catch::Contains("ignore_mismatched_sizes"));
  const Loaded<ToyBase> loaded(tensors, {.ignore_mismatched_sizes = true});
  CHECK(loaded.info.mismatched_keys == std::vector<std::string>{"dense.weight"});
  CHECK(loaded.info.missing_keys.empty());
  CHECK(loaded.model->dense->weight.sizes() == at::IntArrayRef({2, 2}));
}

TEST_CASE("AC-105: tied weights are one tensor, unless the configuration unties them") {
  auto tensors = with_prefix(kBase);
  tensors.emplace_back("head.weight", numbers({4, 2}, 50));
  const Loaded<ToyLM> tied(tensors);
  CHECK(tied.model->head->weight.unsafeGetTensorImpl() == tied.model->toy->embed->weight.unsafeGetTensorImpl());
  CHECK(at::equal(tied.model->head->weight, numbers({4, 2}, 0)));  // the embedding wins
  CHECK(tied.info.unexpected_keys.empty());
  const Loaded<ToyLM> untied(tensors, {}, false);
  CHECK(at::equal(untied.model->head->weight, numbers({4, 2}, 50)));
}

TEST_CASE("AC-110: weights become float32 or the dtype asked for; the same dtype is not copied") {
  auto tensors = kBase;
  for (auto& [name, tensor] : tensors) tensor = tensor.to(at::kBFloat16);
  CHECK(Loaded<ToyBase>(tensors).model->dtype() == at::kFloat);
  Folder folder;
  save_safetensors((folder.path / "model.safetensors").string(), tensors);
  PretrainedConfig config;
  ToyBase model(config);
  const auto checkpoint = Checkpoint::open(folder.path.string());
  load_weights(model, *checkpoint, {.dtype = at::kBFloat16});
  CHECK(model.dtype() == at::kBFloat16);
  CHECK(model.embed->weight.const_data_ptr() == checkpoint->tensor("embed.weight").const_data_ptr());
}
