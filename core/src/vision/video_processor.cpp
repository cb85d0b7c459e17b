#include "backplane/vision/video_processor.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "backplane/base/files.h"
#include "backplane/base/json.h"
#include "backplane/config/config_json.h"
#include "vision/pipelines.h"

namespace backplane {
namespace {

using namespace pipelines;

constexpr ImageProcessorClass kClasses[] = {
#include "vision/video_processor_classes.inc"
};

constexpr int64_t kFrames = 1 << 20;

double as_double(int64_t value) { return static_cast<double>(value); }

// frames [frames, height, width, channels]
Tensor channels_behind(const Tensor& given) {
  if (given.dim() != 4 || given.numel() == 0)
    throw_invalid(concat("a clip of ", given.dim(), " dimensions; expected frames, height, width and channels"));
  if (given.size(1) == 1 || given.size(1) == 3) return given.permute({0, 2, 3, 1});
  if (given.size(3) == 1 || given.size(3) == 3 || given.size(3) == 4) return given;
  throw_invalid(concat("the channels of a clip of ", given.sizes(), " cannot be told; expected 1 or 3 of them"));
}

Tensor to_rgb(const Tensor& frames) {
  if (frames.size(3) == 1) return frames.expand({-1, -1, -1, 3});
  if (frames.size(3) != 4) return frames;
  const Tensor alpha = frames.narrow(3, 3, 1), color = frames.narrow(3, 0, 3);
  if (!alpha.lt(255).any().item<bool>()) return frames;
  const Tensor part = alpha / 255.0;
  return (1 - part) * 255 + part * color;
}

Tensor taken(const Tensor& frames, const Tensor& index) { return frames.index_select(0, index.to(at::kLong)); }

// Every total/count-th frame from `shift` on, by torch's arange in float32.
Tensor evenly(const Tensor& frames, double shift, double count) {
  const int64_t total = frames.size(0);
  if (count > as_double(total)) throw_invalid(concat(count, " frames are to be sampled of ", total));
  if (count < 1) throw_invalid("no frame is to be sampled");
  return taken(
      frames,
      at::arange(at::Scalar(shift), at::Scalar(total), at::Scalar(as_double(total) / count), at::kFloat).to(at::kInt));
}

const VideoMetadata& metadata_of(const Video& video) {
  if (!video.metadata || !(video.metadata->fps > 0))
    throw_invalid("frames are to be sampled by fps, and the clip has no metadata that says its own");
  return *video.metadata;
}

Tensor sample(const Call& call, const Video& video, const Tensor& frames) {
  const bool by_count = call.find("num_frames") != nullptr, by_rate = call.find("fps") != nullptr;
  if (by_count && by_rate) throw_invalid("num_frames and fps are both set; expected one of them");
  if (by_count) return evenly(frames, 0, call.number("num_frames"));
  if (!by_rate) throw_invalid("do_sample_frames is true, and neither num_frames nor fps is set");
  return evenly(frames, 0, std::trunc(as_double(frames.size(0)) / metadata_of(video).fps * call.number("fps")));
}

// [frames, channels, height, width]
Tensor stacked(const Call& call, const Tensor& frames, const std::function<Tensor(const Tensor&)>& each) {
  return at::stack(call.map(frames.unbind(0), each));
}

BatchFeature plain(const Call& call, const std::vector<Video>& videos, const char* name,
                   const std::function<Tensor(const Video&, const Tensor&)>& sampler) {
  call.validate();
  std::vector<Tensor> clips;
  for (const auto& video : videos) {
    Tensor frames = channels_behind(video.frames);
    if (call.flag("do_sample_frames")) frames = sampler(video, frames);
    if (call.flag("do_convert_rgb")) frames = to_rgb(frames);
    clips.push_back(stacked(call, frames, [&](Tensor x) {
      if (call.flag("do_resize")) x = call.resize(x, base_fast_size(call.size(), size_of(x)));
      if (call.flag("do_center_crop")) x = call.center_crop(x, call.exact_size("crop_size"));
      return call.finish(x);
    }));
  }
  return {{{name, call.stack(clips)}}};
}

BatchFeature base_video(const Call& call, const std::vector<Video>& videos, const char* name) {
  return plain(call, videos, name,
               [&](const Video& video, const Tensor& frames) { return sample(call, video, frames); });
}

// The first frame is half a step in.
BatchFeature intern_vl(const Call& call, const std::vector<Video>& videos) {
  return plain(call, videos, "pixel_values_videos", [&](const Video& video, const Tensor& frames) {
    double count = 0;
    if (call.find("num_frames") != nullptr)
      count = call.number("num_frames");
    else if (call.find("fps") != nullptr)
      count = std::trunc(as_double(frames.size(0)) / metadata_of(video).fps * call.number("fps"));
    else
      throw_invalid("do_sample_frames is true, and neither num_frames nor fps is set");
    const Value* shift = call.find("initial_shift");
    double start = 0;
    if (shift != nullptr && shift->is_bool())
      start = shift->as_bool() ? as_double(frames.size(0)) / count / 2 : 0;
    else if (shift != nullptr)
      start = shift->as_double();
    return evenly(frames, start, count);
  });
}

struct Patches {
  std::vector<Tensor> values;
  std::vector<Tensor> grids;

  void add(const Call& call, const Tensor& frames) {
    std::vector<int64_t> grid;
    values.push_back(qwen_patches(frames, call.integer("temporal_patch_size"), call.integer("patch_size"),
                                  call.integer("merge_size"), grid));
    grids.push_back(at::tensor(grid, at::kLong));
  }
  BatchFeature features() const {
    return {{{"pixel_values_videos", at::cat(values)}, {"video_grid_thw", at::stack(grids)}}};
  }
};

BatchFeature qwen2_vl_video(const Call& call, const std::vector<Video>& videos) {
  call.validate();
  const int64_t factor = call.integer("patch_size") * call.integer("merge_size"),
                temporal = call.integer("temporal_patch_size");
  const int64_t low = call.integer("min_pixels"), high = call.integer("max_pixels");
  if (temporal < 1 || low < 1 || high < 1)
    throw_invalid("temporal_patch_size, min_pixels and max_pixels must be above 0");
  Patches patches;
  for (const auto& video : videos) {
    Tensor frames = channels_behind(video.frames);
    if (call.flag("do_sample_frames")) {
      const bool by_count = call.find("num_frames") != nullptr, by_rate = call.find("fps") != nullptr;
      const double step = as_double(temporal);
      if (by_count && by_rate) throw_invalid("num_frames and fps are both set; expected one of them");
      if (by_count) {
        frames = evenly(frames, 0, as_double(round_half_even(call.number("num_frames") / step) * temporal));
      } else if (by_rate) {
        const double total = as_double(frames.size(0)),
                     most = std::floor(std::min(call.number("max_frames"), total) / step) * step;
        const double wanted = total / metadata_of(video).fps * call.number("fps");
        frames = evenly(
            frames, 0,
            std::floor(std::min(std::min(std::max(wanted, call.number("min_frames")), most), total) / step) * step);
      } else {
        throw_invalid("do_sample_frames is true, and neither num_frames nor fps is set");
      }
    }
    if (call.flag("do_convert_rgb")) frames = to_rgb(frames);
    patches.add(
        call, stacked(call, frames, [&](const Tensor& x) {
          return call.finish(call.flag("do_resize") ? call.resize(x, qwen_size(size_of(x), factor, low, high)) : x);
        }));
  }
  return patches.features();
}

// As many frames a second as the setting fps says, in pairs; every second one's time is told.
BatchFeature glm4v_video(const Call& call, const std::vector<Video>& videos) {
  constexpr double kLongest = 300;  // seconds
  call.validate();
  if (!call.flag("do_sample_frames")) throw_invalid("do_sample_frames is false, and this class always samples");
  const int64_t temporal = call.integer("temporal_patch_size"),
                factor = call.integer("patch_size") * call.integer("merge_size");
  if (temporal < 1 || factor < 1) throw_invalid("temporal_patch_size, patch_size and merge_size must be above 0");
  const auto own_rate = call.own_numbers("fps");
  const SizeDict limit = [&] {
    SizeDict out;
    const Value* value = call.find("max_image_size");
    const Value* edge = value != nullptr ? value->find("longest_edge") : nullptr;
    if (edge == nullptr || !edge->is_number() || edge->as_double() < 1)
      throw_invalid("max_image_size has no longest_edge");
    out.longest_edge = static_cast<int64_t>(edge->as_double());
    return out;
  }();
  const double rate = own_rate.at(0);
  if (!(rate > 0)) throw_invalid("fps is not above 0");
  Patches patches;
  std::vector<std::vector<int64_t>> times;
  for (const auto& video : videos) {
    if (!video.metadata) throw_invalid("the clip has no metadata, which this class samples by");
    Tensor frames = channels_behind(video.frames);
    const VideoMetadata& known = *video.metadata;
    const double fps = known.fps > 0 ? known.fps : 2.0;
    const int64_t count = known.total_num_frames > 0 ? known.total_num_frames : frames.size(0), last = count - 1;
    const double duration = known.duration ? *known.duration : as_double(round_half_even(as_double(last) / fps) + 1);
    std::vector<int64_t> index;
    const auto add = [&](double at) {
      const int64_t frame = std::min(last, static_cast<int64_t>(std::ceil(at)));
      if (std::find(index.begin(), index.end(), frame) == index.end()) index.push_back(frame);
    };
    const double wanted = duration <= kLongest ? std::floor(duration * rate) : std::trunc(kLongest * rate);
    if (!(wanted >= 0) || wanted > as_double(kFrames)) throw_invalid("the clip's duration is impossible");
    const auto samples = static_cast<int64_t>(wanted);
    if (duration <= kLongest) {
      for (int64_t i = 0; i < samples; ++i) add(as_double(i) * fps / rate);
    } else if (samples >= count) {
      for (int64_t i = 0; i < count; ++i) index.push_back(i);
    } else {
      for (int64_t i = 0; i < samples; ++i)
        add((samples == 1 ? 0 : as_double(i) * (duration / as_double(samples - 1))) * fps);
    }
    if (index.empty()) throw_invalid("no frame is to be sampled");
    if (index.size() % 2 == 1) index.push_back(index.back());
    for (const int64_t frame : index) {
      if (frame < 0 || frame >= frames.size(0))
        throw_invalid(concat("frame ", frame, " is to be sampled of ", frames.size(0)));
    }
    auto& seconds = times.emplace_back();
    for (size_t i = 0; i < index.size(); i += 2) seconds.push_back(static_cast<int64_t>(as_double(index[i]) / fps));
    frames = taken(frames, at::tensor(index, at::kLong)).permute({0, 3, 1, 2}).contiguous();
    if (call.flag("do_resize")) {
      const Size size =
          glm_size(frames.size(0), {frames.size(2), frames.size(3)}, temporal, factor, 112 * 112, limit.longest_edge);
      frames = at::upsample_bicubic2d(frames, std::array<int64_t, 2>{size.height, size.width}, false);
    }
    patches.add(call, stacked(call, frames.permute({0, 2, 3, 1}), [&](const Tensor& x) { return call.finish(x); }));
  }
  BatchFeature out = patches.features();
  out.items.emplace_back("timestamps", call.rows(times));
  return out;
}

// Frames squeezed to max_image_size, by way of a size that keeps their shape; with times as minutes and seconds.
BatchFeature smol_vlm_video(const Call& call, const std::vector<Video>& videos) {
  call.validate();
  std::vector<Tensor> clips, masks;
  std::vector<std::vector<std::vector<int64_t>>> times;
  std::vector<int64_t> durations;
  const SizeDict size = call.size("size", SizeRule::longest), limit = call.size("max_image_size", SizeRule::longest);
  if (limit.longest_edge == 0) throw_invalid("max_image_size has no longest_edge");
  for (const auto& video : videos) {
    Tensor frames = channels_behind(video.frames);
    auto& clip_times = times.emplace_back();
    const auto tell = [&](double second) {
      clip_times.push_back(
          {static_cast<int64_t>(std::floor(second / 60)), static_cast<int64_t>(std::fmod(second, 60))});
    };
    if (call.flag("do_sample_frames")) {
      if (!video.metadata || !video.metadata->duration)
        throw_invalid("the clip has no metadata, which this class samples by");
      const VideoMetadata& known = metadata_of(video);
      const double fps = call.number("fps"), most = call.number("num_frames");
      const double wanted = std::max(1.0, std::min(std::nearbyint(fps * *known.duration), most));
      if (wanted > as_double(kFrames)) throw_invalid("too many frames are to be sampled");
      const auto count = static_cast<int64_t>(wanted);
      const double end = as_double(frames.size(0) - 1);
      std::vector<int64_t> index;
      for (int64_t i = 0; i < count; ++i) {
        const auto frame = static_cast<int64_t>(count == 1       ? 0
                                                : i == count - 1 ? end
                                                                 : as_double(i) * (end / as_double(count - 1)));
        if (index.empty() || index.back() != frame) index.push_back(frame);
      }
      frames = taken(frames, at::tensor(index, at::kLong));
      for (const int64_t frame : index) tell(as_double(frame) / known.fps);
      durations.push_back(static_cast<int64_t>(*known.duration));
    } else {
      for (int64_t i = 0; i < frames.size(0); ++i) tell(as_double(i) / 24);
      durations.push_back(frames.size(0) / 24);
    }
    if (call.flag("do_convert_rgb")) frames = to_rgb(frames);
    clips.push_back(stacked(call, frames, [&](Tensor x) {
      if (call.flag("do_resize")) {
        if (size.longest_edge == 0 && !size.exact())
          throw_invalid("size has neither longest_edge nor height and width");
        const Resample filter = call.resample() == Resample::lanczos ? Resample::bicubic : call.resample();
        x = call.resize(
            x, size.longest_edge != 0 ? idefics3_size(size_of(x), size.longest_edge) : Size{size.height, size.width},
            filter);
        x = call.resize(x, {limit.longest_edge, limit.longest_edge}, filter);
      }
      return call.finish(x);
    }));
    masks.push_back(at::ones({clips.back().size(0), clips.back().size(2), clips.back().size(3)}, at::kLong));
  }
  BatchFeature out{{{"pixel_values", call.stack(clips)}}};
  std::vector<Tensor> time_rows;
  Feature::List time_lists;
  for (const auto& rows : times) {
    std::vector<int64_t> flat;
    Feature::List list;
    for (const auto& row : rows) {
      flat.insert(flat.end(), row.begin(), row.end());
      list.emplace_back(Feature::List(row.begin(), row.end()));
    }
    time_rows.push_back(at::tensor(flat, at::kLong).view({-1, 2}));
    time_lists.emplace_back(list);
  }
  out.items.emplace_back("timestamps", call.stacks() ? call.stack(time_rows) : Feature(time_lists));
  out.items.emplace_back("durations", call.numbers_feature(durations));
  if (call.flag("do_pad")) out.items.emplace_back("pixel_attention_mask", call.stack(masks));
  return out;
}

Value::Object settings_of(const ImageProcessorClass& type, const Value::Object& given) {
  const std::string_view stem = type.name.substr(0, type.name.rfind("VideoProcessor"));
  Value::Object arguments = given;
  std::erase_if(arguments, [](const auto& item) {
    return item.first == "video_processor_type" || item.first == "image_processor_type" ||
           item.first == "feature_extractor_type";
  });
  const auto find = [](const Value::Object& object, std::string_view key) -> const Value* {
    for (const auto& [name, value] : object) {
      if (name == key) return value.is_null() ? nullptr : &value;
    }
    return nullptr;
  };
  if (stem == "VJEPA2") {
    const Value* crop = find(arguments, "crop_size");
    double edge = 256;
    if (crop != nullptr && crop->is_number())
      edge = crop->as_double();
    else if (crop != nullptr && crop->find("height") != nullptr)
      edge = crop->find("height")->as_double();
    else if (crop != nullptr)
      throw_invalid("crop_size has no height");
    set(arguments, "size", Value::Object{{"shortest_edge", static_cast<int64_t>(edge * 256 / 224)}});
  }
  Value::Object settings = build_settings(type, arguments);
  if (stem == "Qwen2VL")
    set(settings, "size",
        Value::Object{{"shortest_edge", *find(settings, "min_pixels")},
                      {"longest_edge", *find(settings, "max_pixels")}});
  return settings;
}

}  // namespace

VideoProcessor::VideoProcessor(const ImageProcessorClass& type, Value::Object settings)
    : type_(type), name_(type.name), settings_(std::move(settings)) {}

std::shared_ptr<VideoProcessor> VideoProcessor::create(std::string_view class_name, const Value::Object& arguments) {
  for (const auto& known : kClasses) {
    if (known.name == class_name)
      return std::shared_ptr<VideoProcessor>(new VideoProcessor(known, settings_of(known, arguments)));
  }
  throw Error(ErrorCode::unknown_class, concat("no video processor class '", class_name, "' is built in"));
}

std::vector<std::string> VideoProcessor::class_names() {
  std::vector<std::string> names;
  for (const auto& known : kClasses) names.emplace_back(known.name);
  return names;
}

BatchFeature VideoProcessor::operator()(const std::vector<Video>& videos, const Value::Object& arguments) const {
  if (videos.empty()) throw_invalid("no clip; expected one or more");
  static const ImageProcessorInputs kNone;
  const Call call(type_, settings_, arguments, kNone);
  const std::string_view stem = type_.name.substr(0, type_.name.rfind("VideoProcessor"));
  try {
    if (stem == "Glm4v") return glm4v_video(call, videos);
    if (stem == "InternVL") return intern_vl(call, videos);
    if (stem == "Qwen2VL") return qwen2_vl_video(call, videos);
    if (stem == "SmolVLM") return smol_vlm_video(call, videos);
    return base_video(call, videos, stem == "InstructBlipVideo" ? "pixel_values" : "pixel_values_videos");
  } catch (const c10::Error& error) {
    throw Error(ErrorCode::invalid_value, concat(name_, ": ", error.what_without_backtrace()));
  }
}

Value::Object VideoProcessor::to_dict() const {
  Value::Object out = settings_;
  set(out, "video_processor_type", name_);
  return out;
}

std::string VideoProcessor::to_json_string() const { return processor_json(to_dict()); }

void VideoProcessor::save_pretrained(const std::string& folder) const {
  write_file(folder + "/video_preprocessor_config.json", to_json_string());
}

}  // namespace backplane
