#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backplane/vision/image_processor.h"

namespace backplane {

/// What is known of a clip beside its frames; frames are sampled by it.
struct VideoMetadata {
  int64_t total_num_frames = 0;
  double fps = 0;                  // frames a second
  std::optional<double> duration;  // seconds
};

/// A clip: frames as bytes, [frames, height, width, channels] or [frames, channels, height, width].
struct Video {
  Tensor frames;
  std::optional<VideoMetadata> metadata;
};

/// A video processor of the reference, by its class name; computes as torchvision does. Immutable; calls are
/// thread-safe.
class VideoProcessor {
 public:
  /// `arguments`: those of the constructor, or the object of a video_preprocessor_config.json. Throws `unknown_class`,
  /// `invalid_value`.
  static std::shared_ptr<VideoProcessor> create(std::string_view class_name, const Value::Object& arguments = {});

  static std::vector<std::string> class_names();
  const std::string& class_name() const { return name_; }

  /// Clips to tensors, [clips, frames, channels, height, width] or patches. `arguments` replace settings for this call.
  /// Throws `invalid_value` where the reference raises: clips that do not stack, more frames asked for than there are,
  /// metadata missing.
  BatchFeature operator()(const std::vector<Video>& videos, const Value::Object& arguments = {}) const;

  /// Every setting, as the reference's to_dict, and as its to_json_string.
  Value::Object to_dict() const;
  std::string to_json_string() const;
  /// Writes `folder`/video_preprocessor_config.json.
  void save_pretrained(const std::string& folder) const;

 private:
  VideoProcessor(const ImageProcessorClass& type, Value::Object settings);
  const ImageProcessorClass& type_;
  std::string name_;
  Value::Object settings_;
};

}  // namespace backplane
