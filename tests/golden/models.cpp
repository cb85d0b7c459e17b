#include <ATen/ATen.h>

#include <boost/filesystem.hpp>
#include <cmath>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/checkpoint/save.h"
#include "backplane/config/generation_config_json.h"
#include "backplane/generation/generate.h"
#include "backplane/host/auto_model.h"
#include "golden/fill.h"
#include "golden/golden.h"

namespace backplane::golden {
namespace {

namespace fs = boost::filesystem;

constexpr double kFloatEpsilon = 0x1p-23;

struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / fs::unique_path("backplane-golden-%%%%%%%%%%%%");
  TemporaryFolder() { fs::create_directories(path); }
  ~TemporaryFolder() {
    boost::system::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

// A failure of the comparison itself, in a sentence.
struct Difference {
  std::string reason;
};

Argument argument_of(const Json& recipe, const std::string& name, uint64_t seed) {
  if (recipe.contains("value")) {
    const Json& value = recipe["value"];
    if (value.is_boolean()) return value.get<bool>();
    if (value.is_number_integer()) return value.get<int64_t>();
    if (value.is_number_float()) return value.get<double>();
    if (value.is_string()) return value.get<std::string>();
    return {};
  }
  if (recipe.contains("list")) {
    std::vector<Tensor> tensors;
    for (const auto& item : recipe["list"])
      tensors.push_back(fill(item, concat("input:", name, ".", tensors.size()), seed));
    return tensors;
  }
  return fill(recipe, "input:" + name, seed);
}

// The field "a.b.0": an item of a tuple where the field itself does not exist.
Tensor field(const ModelOutput& output, const std::string& name) {
  if (output.contains(name)) return output[name];
  const size_t dot = name.rfind('.');
  if (dot != std::string::npos && output.contains(name.substr(0, dot))) {
    const auto tuple = output.tuple(name.substr(0, dot));
    const auto index = static_cast<size_t>(std::atoll(name.c_str() + dot + 1));
    if (index < tuple.size()) return tuple[index];
  }
  std::vector<std::string> names;
  for (const auto& item : output) names.push_back(item.first);
  throw Difference{concat("no output '", name, "'; there are ", join(names))};
}

class Comparison {
 public:
  Comparison(const Json& fixture, GoldenResult& result) : fixture_(fixture), result_(result) {}

  // Largest difference against what 3 times the noise of the fixture allows; integers and booleans must be equal.
  void compare(const std::string& name, const Json& golden, Tensor mine, const Tensor& where,
               std::optional<double> noise) {
    mine = mine.detach();
    if (at::isComplexType(mine.scalar_type())) mine = at::view_as_real(mine);
    const auto shape = golden.at("shape").get<std::vector<int64_t>>();
    if (mine.sizes() != at::IntArrayRef(shape)) {
      throw Difference{concat(name, " has the shape ", mine.sizes(), ", expected ", at::IntArrayRef(shape))};
    }
    const bool sampled = golden.contains("sample");
    Tensor keep = where.defined() ? spread(where, mine) : Tensor();
    mine = mine.contiguous().view({-1});
    Tensor expected;
    if (sampled) {
      const Json& sample = golden["sample"];
      const auto stride = sample.at("stride").get<int64_t>(), count = sample.at("count").get<int64_t>();
      Json recipe = {{"dtype", golden.at("dtype")}, {"shape", {count}}, {"b64", sample.at("b64")}};
      expected = fill(recipe, name, 0);
      mine = mine.slice(0, 0, stride * (count - 1) + 1, stride);
      if (keep.defined()) keep = keep.slice(0, 0, stride * (count - 1) + 1, stride);
    } else {
      expected = fill(golden, name, 0).view({-1});
    }
    if (!expected.is_floating_point()) {
      if (!at::equal(mine.to(expected.scalar_type()), expected))
        throw Difference{concat(name, " differs in ", (mine != expected).sum().item<int64_t>(), " elements")};
      return;
    }
    mine = mine.to(at::kDouble);
    expected = expected.to(at::kDouble);
    Tensor difference =
        at::where(mine.eq(expected), at::zeros_like(mine), (mine - expected).abs());  // equal infinities too
    if (keep.defined()) difference = difference.masked_fill(keep.logical_not(), 0);
    if (difference.numel() == 0) return;
    const double finite_max = at::nan_to_num(expected, 0, 0, 0).abs().max().item<double>();
    const double floor =
        std::max(noise.value_or(fixture_.at("tolerance").value(name, 0.0) / 3), kFloatEpsilon * finite_max);
    const double worst = at::nan_to_num(difference, HUGE_VAL, HUGE_VAL, HUGE_VAL).max().item<double>();
    if (worst / floor >= result_.max_abs_diff / std::max(result_.noise_floor, 1e-300)) {
      result_.max_abs_diff = worst;
      result_.noise_floor = floor;
    }
    if (!(worst <= 3 * floor)) {
      const auto at_index =
          at::nan_to_num(difference, HUGE_VAL, HUGE_VAL, HUGE_VAL).gt(3 * floor).to(at::kInt).argmax().item<int64_t>();
      throw Difference{concat(name, "[", at_index, "] is ", mine[at_index].item<double>(), ", expected ",
                              expected[at_index].item<double>(), "; largest difference ", worst, ", allowed ",
                              3 * floor)};
    }
  }

 private:
  // A mask over the leading dimensions, for every element of `like`, flat.
  static Tensor spread(const Tensor& mask, const Tensor& like) {
    Tensor wide = mask.to(at::kBool);
    while (wide.dim() < like.dim()) wide = wide.unsqueeze(-1);
    return wide.expand_as(like).contiguous().view({-1});
  }

  const Json& fixture_;
  GoldenResult& result_;
};

std::optional<double> noise_of(const Json& checks, const std::string& output) {
  std::optional<double> noise;
  for (const char* kind : {"f64_max_diff", "rounding_max_diff"}) {
    if (checks.contains(kind) && checks[kind].is_object() && checks[kind].contains(output)) {
      noise = std::max(noise.value_or(0), checks[kind][output].get<double>());
    }
  }
  return noise;
}

void check_generation(PreTrainedModel& model, const Json& fixture, const ModelInputs& inputs, Comparison& comparison) {
  const Json& golden = fixture["generate"];
  ModelInputs prompt;
  for (const auto& name : golden.at("inputs")) {
    if (const Argument* value = inputs.find(name.get<std::string>())) prompt.set(name.get<std::string>(), *value);
  }
  // As the fixtures were recorded: no ends, nothing forced or suppressed.
  GenerationConfig config = model.generation_config.value_or(GenerationConfig{});
  config.eos_token_id = config.forced_eos_token_id = config.suppress_tokens = config.begin_suppress_tokens = Value();
  config.forced_bos_token_id.reset();
  const auto result = generate(model, prompt,
                               {.max_new_tokens = golden.at("max_new_tokens").get<int64_t>(),
                                .do_sample = false,
                                .pad_token_id = config.pad_token_id.value_or(0),
                                .num_beams = 1,
                                .config = config});
  const Tensor expected = fill(golden.at("sequences"), "sequences", 0);
  if (!at::equal(result.sequences, expected)) {
    throw Difference{
        concat("generated ", result.sequences.sizes(), " ids differ in ",
               result.sequences.sizes() == expected.sizes() ? (result.sequences != expected).sum().item<int64_t>() : -1,
               " places")};
  }
  comparison.compare("last_logits", golden.at("last_logits"), result.last_logits, {},
                     noise_of(fixture["checks"], "logits"));
}

// Generations under other settings, which record_searches.py adds to some fixtures.
void check_searches(PreTrainedModel& model, const Json& fixture) {
  for (const auto& search : fixture["searches"]) {
    const Json& settings = search.at("settings");
    GenerationConfig config = model.generation_config.value_or(GenerationConfig{});
    config.eos_token_id = config.forced_eos_token_id = Value();
    config.forced_bos_token_id.reset();
    config.do_sample = false;
    override_generation_config(config, settings);
    ModelInputs prompt;
    for (const auto& [name, recipe] : search.at("inputs").items()) prompt.set(name, fill(recipe, name, 0));
    const auto result = generate(model, prompt, {.config = config});
    const Tensor expected = fill(search.at("sequences"), "sequences", 0);
    if (!at::equal(result.sequences, expected)) {
      throw Difference{concat("generated ids differ with ", settings.dump(), ": ", result.sequences.sizes(), " for ",
                              expected.sizes())};
    }
    if (!search.contains("scores")) continue;
    const Tensor scores = fill(search["scores"], "scores", 0);
    if (!at::allclose(result.sequences_scores, scores, 1e-4, 1e-4))
      throw Difference{concat("scores differ with ", settings.dump())};
  }
}

}  // namespace

bool is_model_fixture(const std::filesystem::path& file) {
  const bool is_json = file.extension() == ".json" || (file.extension() == ".gz" && file.stem().extension() == ".json");
  return is_json && file.parent_path().parent_path().filename() == "goldens";
}

GoldenResult run_model_fixture(const std::filesystem::path& file, const GoldenOptions& options) {
  GoldenResult result;
  try {
    const Json fixture = read_fixture(file);
    const auto class_name = fixture.at("class_name").get<std::string>();
    const auto auto_classes = fixture.at("auto_classes").get<std::vector<std::string>>();
    result.kind = fixture.at("model_type").get<std::string>() + "/" + class_name;
    result.name = join(auto_classes, "+");

    TemporaryFolder folder;
    materialize(fixture, folder.path.string());
    PretrainedOptions load;
    load.attn_implementation = fixture.at("attn_implementation").get<std::string>();
    std::shared_ptr<PreTrainedModel> model;
    for (const auto& name : auto_classes) {
      LoadingInfo info;
      model = model_from_pretrained(AutoClass{name}, folder.path.string(), load, &info);
      if (!model->name().ends_with("::" + class_name)) throw Difference{concat(name, " gave ", model->name())};
      if (!info.missing_keys.empty()) throw Difference{concat("missing keys: ", join(info.missing_keys))};
      if (!info.unexpected_keys.empty()) throw Difference{concat("unexpected keys: ", join(info.unexpected_keys))};
    }

    const auto seed = fixture.at("seed").get<uint64_t>();
    ModelInputs inputs;
    for (const auto& [name, recipe] : fixture.at("inputs").items()) inputs.set(name, argument_of(recipe, name, seed));

    const Json& checks = fixture.at("checks");
    std::vector<std::string> random;
    if (checks.contains("random_outputs")) random = checks["random_outputs"].get<std::vector<std::string>>();
    Comparison comparison(fixture, result);
    {
      c10::InferenceMode guard;
      const ModelOutput output = model->forward(inputs);
      if (!options.dump.empty()) {
        ModelInputs wide = inputs;
        for (std::string_view name : model->arguments()) {
          if (name == "output_hidden_states" || name == "output_attentions") wide.set(std::string(name), true);
        }
        NamedTensors tensors;
        for (const auto& [name, value] : model->forward(wide)) {
          if (const auto* tensor = std::get_if<Tensor>(&value)) tensors.emplace_back(name, *tensor);
          if (const auto* tuple = std::get_if<std::vector<Tensor>>(&value)) {
            for (size_t i = 0; i < tuple->size(); ++i) tensors.emplace_back(concat(name, ".", i), (*tuple)[i]);
          }
        }
        save_safetensors(
            concat(options.dump, "/", file.parent_path().filename().string(), ".", class_name, ".safetensors"),
            tensors);
      }
      for (const auto& [name, golden] : fixture.at("outputs").items()) {
        if (std::find(random.begin(), random.end(), name) != random.end()) continue;
        Tensor where;
        if (fixture.at("compare_where").contains(name))
          where = inputs[fixture["compare_where"][name].get<std::string>()];
        comparison.compare(name, golden, field(output, name), where, noise_of(checks, name));
      }
    }
    if (!fixture.at("generate").is_null()) check_generation(*model, fixture, inputs, comparison);
    if (fixture.contains("searches")) check_searches(*model, fixture);
    result.passed = true;
  } catch (const Difference& difference) {
    result.reason = difference.reason;
  } catch (const Error& error) {
    result.reason = concat(to_string(error.code()), ": ", error.what());
  } catch (const std::exception& error) {
    result.reason = split(error.what(), '\n').front();
  }
  return result;
}

}  // namespace backplane::golden
