#include "golden/image_processors.h"

#include <ATen/ATen.h>

#include <array>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/log.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/vision/image_processor.h"
#include "golden/features.h"
#include "golden/fill.h"

namespace backplane::golden {
namespace {

namespace fs = std::filesystem;

// The pictures of `inputs`, read once a file.
class Inputs {
 public:
  explicit Inputs(const fs::path& folder)
      : folder_(folder), index_(read_json_file((folder / "inputs.json").string())) {}

  Image image(const std::string& name) const {
    const Json& entry = index_.at("images").at(name);
    const std::string path = (folder_ / entry.value("decoded", entry.at("file").get<std::string>())).string();
    return decode_image(read_file(path, limits::kImageFileBytes), path);
  }

 private:
  fs::path folder_;
  Json index_;
};

at::Tensor pixels(const Image& image) {
  return at::from_blob(const_cast<uint8_t*>(image.pixels.data()), {image.height, image.width, image.channels()},
                       at::kByte)
      .clone();
}

Picture as_given(const Image& image, const std::string& given) {
  if (given == "pil") return image;
  at::Tensor array = pixels(image);
  if (given.find("float32") != std::string::npos) {
    // numpy divides by 255 in float64.
    array = (array.to(at::kDouble) / 255).to(at::kFloat);
    if (given.find("torch") != std::string::npos) array = pixels(image).to(at::kFloat) / 255;
  }
  return given.find("3 x height") != std::string::npos ? array.permute({2, 0, 1}).contiguous() : array;
}

// The fixtures' generator of small numbers.
class Rng {
 public:
  explicit Rng(uint32_t seed) : x_(seed) {}
  double unit() { return (x_ = 1664525u * x_ + 1013904223u) / 4294967296.0; }

 private:
  uint32_t x_;
};

at::Tensor trimap(int64_t height, int64_t width) {
  Rng rng(9);
  std::array<uint8_t, 36> grid;
  for (auto& cell : grid) cell = static_cast<uint8_t>(127 * static_cast<int>(3 * rng.unit()));
  at::Tensor out = at::empty({height, width}, at::kByte);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) out[y][x] = grid[static_cast<size_t>(y * 6 / height * 6 + x * 6 / width)];
  }
  return out;
}

void add_settings(Value::Object& to, const Json& from) {
  for (auto it = from.begin(); it != from.end(); ++it) set(to, it.key(), to_value(it.value()));
}

class Runner {
 public:
  Runner(const fs::path& file, GoldenResult& result)
      : fixture_(read_fixture(file)),
        folder_(file.parent_path()),
        inputs_(file.parent_path().parent_path() / "inputs"),
        result_(result) {
    name_ = fixture_.at("class").get<std::string>();
    result.name = name_;
    // A float picture that is resized has the rounding of its sums.
    for (const char* part : {"Siglip2", "Pix2Struct", "ZoeDepth", "PromptDepth"}) {
      if (name_.starts_with(part)) tolerance_ = 1e-4;
    }
  }

  void run() {
    FeatureJudge judge(result_, tolerance_);
    judge.count("config", config_difference());
    for (const Json& one : fixture_.at("cases")) {
      FeatureJudge own(result_, one.contains("method") ? 1e-4 : tolerance_);
      const auto name = one.at("name").get<std::string>();
      std::string reason;
      try {
        const Feature found = answer(one);
        reason = one.contains("error") ? concat("expected the error ", one.at("error").dump())
                                       : own.compare(one.at("outputs"), found, "");
      } catch (const Error& error) {
        if (!one.contains("error")) reason = concat("error ", to_string(error.code()), ": ", error.what());
      } catch (const std::exception& error) {
        reason = concat("exception ", std::string(error.what()).substr(0, 300));
      }
      judge.count(name, reason);
    }
  }

 private:
  std::shared_ptr<ImageProcessor> processor(const Json& one) const {
    Value::Object arguments;
    add_settings(arguments, fixture_.at("build_arguments"));
    if (one.contains("settings")) {
      const Json& settings = one.at("settings");
      if (settings.contains("pretrained_cfg")) {
        Json all = fixture_.at("build_arguments").at("pretrained_cfg");
        all.update(settings.at("pretrained_cfg"));
        set(arguments, "pretrained_cfg", to_value(all));
      } else {
        add_settings(arguments, settings);
      }
    }
    if (name_.starts_with("OneFormer")) set(arguments, "repo_path", Value(folder_.string()));
    return ImageProcessor::create(name_, arguments);
  }

  std::string config_difference() const {
    try {
      Json found = to_json(Value(processor(Json::object())->to_dict()));
      for (const char* key : {"repo_path", "metadata"}) found.erase(key);
      Json expected = fixture_.at("config");
      for (const char* key : {"repo_path", "metadata"}) expected.erase(key);
      // Python's dictionaries compare without their order.
      if (python_dumps(found, -1, true, true) == python_dumps(expected, -1, true, true)) return "";
      return concat("found ", python_dumps(found, -1, true, true), ", expected ",
                    python_dumps(expected, -1, true, true));
    } catch (const Error& error) {
      return error.what();
    }
  }

  Feature answer(const Json& one) const {
    Json call = one.value("call", Json::object());
    auto settings = one;
    if (call.contains("is_vqa")) {
      settings["settings"].update(call);
      call.erase("is_vqa");
    }
    const auto used = processor(settings);
    if (one.contains("method")) {
      ModelOutput outputs;
      Value::Object arguments;
      const Json& given = one.at("model_outputs");
      for (auto it = given.begin(); it != given.end(); ++it) outputs.set(it.key(), whole_array(it.value()));
      add_settings(arguments, one.at("arguments"));
      return used->post_process(one.at("method").get<std::string>(), outputs, arguments);
    }
    ImageProcessorInputs inputs;
    if (!one.contains("images")) return Feature((*used)(inputs).items);
    const auto names = one.at("images").get<std::vector<std::string>>();
    const auto takes = fixture_.at("takes").get<std::string>();
    std::vector<Picture> pictures;
    for (const auto& name : names) pictures.push_back(as_given(inputs_.image(name), one.value("given", "pil")));
    if (takes == "pair" && pictures.size() == 1) pictures.push_back(pictures.front());
    inputs.nesting = takes == "clip"                             ? Nesting::nested
                     : pictures.size() == 1 && takes == "images" ? Nesting::single
                                                                 : Nesting::list;
    inputs.images = {pictures};
    if (one.contains("annotations")) {
      const Json& annotations = one.at("annotations");
      if (annotations.is_array()) {
        for (const auto& annotation : annotations) inputs.annotations.push_back(to_value(annotation));
      } else {
        inputs.annotations.push_back(to_value(annotations));
      }
    }
    if (one.contains("segmentation_map")) inputs.segmentation_maps = {whole_array(one.at("segmentation_map"))};
    if (one.contains("prompt_depth")) inputs.prompt_depth = {whole_array(one.at("prompt_depth"))};
    if (one.contains("prompt_mask")) {
      inputs.prompt_masks = {whole_array(one.at("prompt_mask"))};
      inputs.prompt_images = pictures;
      call.erase("prompt_images");
    }
    if (name_.starts_with("OneFormer")) inputs.task_inputs.assign(names.size(), "semantic");
    if (name_.starts_with("VitMatte")) {
      for (const auto& name : names) {
        const Image image = inputs_.image(name);
        inputs.trimaps.push_back(trimap(image.height, image.width));
      }
    }
    Value::Object arguments;
    add_settings(arguments, call);
    return Feature((*used)(inputs, arguments).items);
  }

  Json fixture_;
  fs::path folder_;
  Inputs inputs_;
  GoldenResult& result_;
  std::string name_;
  double tolerance_ = 1e-5;
};

}  // namespace

bool is_image_processor_fixture(const fs::path& file) {
  const auto name = file.filename().string();
  return file.parent_path().filename() == "image_processors" &&
         (name.ends_with("ImageProcessor.json") || name.ends_with("ImageProcessorFast.json"));
}

GoldenResult run_image_processor_fixture(const fs::path& file, const GoldenOptions&) {
  GoldenResult result;
  result.kind = "image_processors";
  result.name = file.stem().string();
  result.cases = 0;
  try {
    Runner(file, result).run();
  } catch (const std::exception& error) {
    result.reason = error.what();
    ++result.failed_cases;
  }
  result.passed = result.failed_cases == 0 && result.cases > 0;
  if (!result.passed) result.reason = concat(result.failed_cases, " of ", result.cases, ": ", result.reason);
  return result;
}

}  // namespace backplane::golden
