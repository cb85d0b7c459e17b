#include "golden/video_processors.h"

#include <ATen/ATen.h>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/base/strings.h"
#include "backplane/config/config_json.h"
#include "backplane/vision/video_processor.h"
#include "golden/features.h"
#include "golden/fill.h"

namespace backplane::golden {
namespace {

namespace fs = std::filesystem;

Value::Object object_of(const Json& json) {
  Value::Object out;
  for (auto it = json.begin(); it != json.end(); ++it) set(out, it.key(), to_value(it.value()));
  return out;
}

// [frames, height, width, 3]
at::Tensor clip(const fs::path& inputs, const Json& index, const std::string& name) {
  const Json& entry = index.at("videos").at(name);
  const std::string path = (inputs / entry.at("file").get<std::string>()).string();
  const Image image = convert_to_rgb(decode_image(read_file(path, limits::kImageFileBytes), path));
  return at::from_blob(const_cast<uint8_t*>(image.pixels.data()),
                       {entry.at("frames").get<int64_t>(), entry.at("height").get<int64_t>(), image.width, 3},
                       at::kByte)
      .clone();
}

Feature answer(const Json& one, const std::string& name, const fs::path& inputs, const Json& index) {
  Json call = one.value("call", Json::object());
  if (call.is_null()) call = Json::object();
  Json settings = one.value("settings", Json::object());
  if (settings.is_null()) settings = Json::object();
  std::optional<VideoMetadata> given;
  if (call.contains("video_metadata")) {
    const Json& metadata = call.at("video_metadata");
    given = VideoMetadata{metadata.at("total_num_frames"), metadata.at("fps"), metadata.at("duration").get<double>()};
    call.erase("video_metadata");
  }
  std::vector<Video> videos;
  for (const auto& video : one.at("videos")) {
    const at::Tensor frames = clip(inputs, index, video);
    auto metadata = given;
    if (!metadata && name.starts_with("Glm4v")) metadata = VideoMetadata{frames.size(0), 2, std::nullopt};
    videos.push_back({frames, metadata});
  }
  return Feature((*VideoProcessor::create(name, object_of(settings)))(videos, object_of(call)).items);
}

}  // namespace

bool is_video_processor_fixture(const fs::path& file) {
  return file.parent_path().filename() == "video_processors" &&
         file.filename().string().ends_with("VideoProcessor.json");
}

GoldenResult run_video_processor_fixture(const fs::path& file, const GoldenOptions&) {
  GoldenResult result;
  result.kind = "video_processors";
  result.name = file.stem().string();
  result.cases = 0;
  try {
    const Json fixture = read_fixture(file);
    const fs::path inputs = file.parent_path().parent_path() / "inputs";
    const Json index = read_json_file((inputs / "inputs.json").string());
    const auto name = fixture.at("class").get<std::string>();
    FeatureJudge judge(result, 1e-5);
    const std::string config = python_dumps(to_json(Value(VideoProcessor::create(name)->to_dict())), -1, true, true),
                      wanted = python_dumps(fixture.at("config"), -1, true, true);
    judge.count("config", config == wanted ? "" : concat("found ", config, ", expected ", wanted));
    for (const Json& one : fixture.at("cases")) {
      std::string reason;
      try {
        const Feature found = answer(one, name, inputs, index);
        reason = one.contains("error") ? concat("expected the error ", one.at("error").dump())
                                       : judge.compare(one.at("outputs"), found, "");
      } catch (const Error& error) {
        if (!one.contains("error")) reason = concat("error ", to_string(error.code()), ": ", error.what());
      }
      judge.count(one.at("name"), reason);
    }
  } catch (const std::exception& error) {
    result.reason = error.what();
    ++result.failed_cases;
  }
  result.passed = result.failed_cases == 0 && result.cases > 0;
  if (!result.passed) result.reason = concat(result.failed_cases, " of ", result.cases, ": ", result.reason);
  return result;
}

}  // namespace backplane::golden
