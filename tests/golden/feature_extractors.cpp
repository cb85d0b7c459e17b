#include "golden/feature_extractors.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "backplane/audio/feature_extractor.h"
#include "backplane/audio/wave.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "golden/fill.h"

namespace backplane::golden {
namespace {

struct Difference {
  std::string reason;
};

at::ScalarType dtype_of(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "float64") return at::kDouble;
  if (name == "int64") return at::kLong;
  if (name == "int32") return at::kInt;
  if (name == "uint8") return at::kByte;
  if (name == "bool") return at::kBool;
  throw Difference{"the fixture has the dtype " + name};
}

class Comparison {
 public:
  Comparison(double tolerance, GoldenResult& result) : tolerance_(tolerance), result_(result) {}

  void compare(const std::string& name, const Json& expected, const Argument& mine, bool shape_only) {
    const auto* tuple = std::get_if<std::vector<Tensor>>(&mine);
    const auto* tensor = std::get_if<Tensor>(&mine);
    if (!tuple && !tensor) throw Difference{concat("no output '", name, "'")};
    if (expected.contains("array") || expected.contains("list_as_array")) {
      const bool exact_type = expected.contains("array");
      compare(name, expected[exact_type ? "array" : "list_as_array"], tensor ? *tensor : at::stack(*tuple), exact_type,
              shape_only);
    } else if (expected.contains("list")) {
      const Json& items = expected["list"];
      const std::vector<Tensor> rows = tuple ? *tuple : tensor->unbind(0);
      if (rows.size() != items.size())
        throw Difference{concat(name, " has ", rows.size(), " rows, expected ", items.size())};
      for (size_t i = 0; i < rows.size(); ++i) compare(concat(name, "[", i, "]"), items[i], rows[i], shape_only);
    } else if (expected.is_boolean() || expected.is_number()) {
      const double want = expected.is_boolean() ? (expected.get<bool>() ? 1.0 : 0.0) : expected.get<double>();
      if (!shape_only &&
          std::abs(tensor->to(at::kDouble).item<double>() - want) > tolerance_ * std::max(1.0, std::abs(want)))
        throw Difference{concat(name, " is ", tensor->to(at::kDouble).item<double>(), ", expected ", want)};
    } else {
      throw Difference{
          concat("a value of the fixture that this runner does not know: ", python_dumps(expected).substr(0, 100))};
    }
  }

 private:
  void compare(const std::string& name, const Json& golden, Tensor mine, bool exact_type, bool shape_only) {
    const auto shape = golden.at("shape").get<std::vector<int64_t>>();
    if (mine.sizes() != at::IntArrayRef(shape))
      throw Difference{concat(name, " has the shape ", mine.sizes(), ", expected ", at::IntArrayRef(shape))};
    const at::ScalarType type = dtype_of(golden.at("dtype").get<std::string>());
    if (exact_type && mine.scalar_type() != type)
      throw Difference{concat(name, " is ", mine.scalar_type(), ", expected ", type)};
    if (shape_only || mine.numel() == 0) return;
    const bool whole = golden.contains("full");
    const auto bytes = decode_base64(golden.at(whole ? "full" : "samples").get<std::string>());
    const int64_t count = whole ? mine.numel() : golden.at("count").get<int64_t>();
    Tensor expected = at::empty({count}, type);
    if (bytes.size() != expected.nbytes()) throw Difference{concat(name, ": the fixture has ", bytes.size(), " bytes")};
    std::copy(bytes.begin(), bytes.end(), static_cast<uint8_t*>(expected.mutable_data_ptr()));
    mine = mine.contiguous().view({-1});
    if (!whole) {
      const auto stride = golden.at("stride").get<int64_t>();
      mine = mine.slice(0, 0, stride * (count - 1) + 1, stride);
    }
    if (!expected.is_floating_point()) {
      if (!at::equal(mine.to(type), expected))
        throw Difference{concat(name, " differs in ", (mine.to(type) != expected).sum().item<int64_t>(), " elements")};
      return;
    }
    mine = mine.to(at::kDouble);
    expected = expected.to(at::kDouble);
    const Tensor alike = mine.eq(expected).logical_or(mine.isnan().logical_and(expected.isnan()));
    const Tensor difference =
        at::where(alike, at::zeros_like(mine), (mine - expected).abs()).nan_to_num(HUGE_VAL, HUGE_VAL, HUGE_VAL);
    const double worst = difference.max().item<double>();
    const double allowed = tolerance_ * std::max(1.0, expected.nan_to_num(0, 0, 0).abs().max().item<double>());
    if (worst / allowed > result_.max_abs_diff / std::max(result_.noise_floor, 1e-300)) {
      result_.max_abs_diff = worst;
      result_.noise_floor = allowed;
    }
    if (!(worst <= allowed)) {
      const auto at_index = difference.argmax().item<int64_t>();
      throw Difference{concat(name, " sample ", at_index, " is ", mine[at_index].item<double>(), ", expected ",
                              expected[at_index].item<double>(), "; allowed ", allowed)};
    }
  }

  double tolerance_;
  GoldenResult& result_;
};

std::vector<Tensor> waves_of(const Json& one, const std::filesystem::path& inputs) {
  std::vector<Tensor> waves;
  const std::string given = one.value("given", "");
  if (!one.contains("waves")) return waves;
  for (const auto& name : one.at("waves")) {
    Tensor wave = read_wave((inputs / (name.get<std::string>() + ".wav")).string()).samples;
    if (wave.size(0) == 1) wave = wave[0];
    if (given.starts_with("first 2000 samples")) wave = wave.slice(-1, 0, 2000);
    if (given == "samples x channels") wave = wave.t();
    if (given == "float64") wave = wave.to(at::kDouble);
    waves.push_back(wave);
  }
  return waves;
}

FeatureOptions options_of(const Json& one) {
  FeatureOptions options;
  if (one.contains("rate") && one["rate"].is_number()) options.sampling_rate = one["rate"].get<int64_t>();
  if (one.contains("method")) options.padding = false;  // the class's inner step alone, without padding
  if (!one.contains("call")) return options;
  for (const auto& [key, value] : one["call"].items()) {
    if (key == "return_tensors") continue;
    if (key == "sampling_rate")
      options.sampling_rate = value.is_null() ? std::nullopt : std::optional(value.get<int64_t>());
    else if (key == "padding")
      options.padding = to_value(value);
    else if (key == "truncation")
      options.truncation = to_value(value);
    else if (key == "max_length")
      options.max_length = value.get<int64_t>();
    else if (key == "pad_to_multiple_of")
      options.pad_to_multiple_of = value.get<int64_t>();
    else if (key == "return_attention_mask")
      options.return_attention_mask = value.get<bool>();
    else if (key == "do_normalize")
      options.do_normalize = value.get<bool>();
    else
      options.more.emplace_back(key, to_value(value));
  }
  return options;
}

void judge(const Json& one, const std::string& class_name, const std::filesystem::path& inputs,
           Comparison& comparison) {
  const auto waves = waves_of(one, inputs);
  ModelInputs mine;
  try {
    const auto build = one.contains("build") ? to_value(one["build"]).as_object() : Value::Object{};
    mine = (*FeatureExtractor::make(class_name, build))(waves, options_of(one));
  } catch (const Error& error) {
    if (one.contains("error")) return;
    throw Difference{concat(to_string(error.code()), ": ", error.what())};
  }
  if (one.contains("error"))
    throw Difference{concat("no error, expected '", one["error"].at("message").get<std::string>().substr(0, 80), "'")};
  const Json& outputs = one.at("outputs");
  if (!outputs.contains("dict"))
    return comparison.compare("input_features", outputs, *mine.find("input_features"), false);
  for (const auto& [name, expected] : outputs["dict"].items()) {
    const Argument* value = mine.find(name);
    if (!value) throw Difference{concat("no output '", name, "'")};
    // Drawn at random by the reference.
    const bool random = name == "noise_sequence" || (name == "is_longer" && waves.size() > 1);
    comparison.compare(name, expected, *value, random);
  }
  for (const auto& [name, value] : mine) {
    if (!outputs["dict"].contains(name))
      throw Difference{concat("an output '", name, "' that the reference does not have")};
  }
}

}  // namespace

bool is_feature_extractor_fixture(const std::filesystem::path& file) {
  return file.parent_path().filename() == "feature_extractors" && file.extension() == ".json" &&
         file.stem() != "aliases" && file.stem() != "missing";
}

GoldenResult run_feature_extractor_fixture(const std::filesystem::path& file, const GoldenOptions&) {
  GoldenResult result;
  result.kind = "feature_extractors";
  result.name = file.stem().string();
  result.cases = 0;
  const WarningCollector quiet;
  const auto fail = [&](const std::string& reason) {
    if (result.failed_cases++ == 0) result.reason = reason;
  };
  try {
    const Json fixture = read_fixture(file);
    const auto class_name = fixture.at("class").get<std::string>();
    const bool torchaudio = file.stem().extension() == ".torchaudio";
    const double tolerance = torchaudio ? 5e-3
                             : class_name == "WhisperFeatureExtractor" || class_name == "Phi4MultimodalFeatureExtractor"
                                 ? 1e-3
                                 : 1e-5;
    Comparison comparison(tolerance, result);
    const auto inputs = file.parent_path().parent_path() / "inputs";

    const Json& first = fixture.at("cases").at(0);
    const auto built = FeatureExtractor::make(
        class_name, first.contains("build") ? to_value(first["build"]).as_object() : Value::Object{});
    const Json mine = to_json(Value(built->settings()));
    for (const auto& [key, value] : fixture.at("config").items()) {
      ++result.cases;
      if (key == "_processor_class") continue;
      if (!mine.contains(key))
        fail(concat("settings: no ", key));
      else if (mine[key] != value)
        fail(concat("settings: ", key, " is ", python_dumps(mine[key]), ", expected ", python_dumps(value)));
    }
    for (const auto& one : fixture["cases"]) {
      ++result.cases;
      try {
        judge(one, class_name, inputs, comparison);
      } catch (const Difference& difference) {
        fail(concat(one.at("name").get<std::string>(), ": ", difference.reason));
      } catch (const std::exception& error) {
        fail(concat(one.at("name").get<std::string>(), ": ", split(error.what(), '\n').front()));
      }
    }
  } catch (const std::exception& error) {
    fail(split(error.what(), '\n').front());
  }
  result.passed = result.failed_cases == 0;
  return result;
}

}  // namespace backplane::golden
